"""From settings to pika's parameters."""

from __future__ import annotations

import ssl

import pika

from infra.errors import ErrorCode
from infra_rabbitmq.errors import BrokerError
from infra_rabbitmq.settings import RabbitMQQueueSettings

_CONNECT_TIMEOUT = 10.0


def parameters_of(settings: RabbitMQQueueSettings, name: str) -> pika.ConnectionParameters:
    """Parameters for one attempt to connect; reads the password and the certificates anew."""
    options = None
    if settings.tls:
        try:
            context = ssl.create_default_context(cafile=None if settings.ca_file is None else str(settings.ca_file))
            if settings.cert_file is not None:
                context.load_cert_chain(settings.cert_file, settings.key_file)
        except OSError as error:  # among them ssl.SSLError, for a file that holds something else
            text = f"a certificate or its key cannot be read: {error.strerror or error}"
            raise BrokerError(text, ErrorCode.CONFIGURATION, settings=("ca_file", "cert_file", "key_file")) from error
        options = pika.SSLOptions(context, settings.host)
    return pika.ConnectionParameters(
        host=settings.host,
        port=settings.actual_port(),
        virtual_host=settings.vhost,
        credentials=pika.PlainCredentials(settings.username, settings.password.reveal()),
        heartbeat=settings.heartbeat,
        ssl_options=options,
        socket_timeout=min(_CONNECT_TIMEOUT, settings.open_timeout),
        stack_timeout=min(_CONNECT_TIMEOUT, settings.open_timeout),
        client_properties={"connection_name": name},
    )
