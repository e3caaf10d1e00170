#!/bin/sh
# Prints the newest Python >= 3.11 on the PATH that can make virtual environments, or says what to install.
reason="none of python3.14, python3.13, python3.12, python3.11, python3 is on the PATH in version 3.11 or later"
for name in python3.13 python3.12 python3.11 python3 python3.14 python; do
    path=$(command -v "$name") || continue
    "$path" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    if "$path" -I -c 'import venv, ensurepip' 2>/dev/null; then
        echo "$path"
        exit 0
    fi
    reason="$path lacks venv or ensurepip (Debian: apt-get install $name-venv)"
done
echo "This project needs Python 3.11 or later with venv: $reason." >&2
exit 1
