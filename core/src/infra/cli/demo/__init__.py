"""``infra demo``, the main job: real documents through storage, outbox, queue, workers, language model, cache and database.

It uses resources named ``demo`` (``database.demo``, ``queue.demo`` and so on), so that it never touches a host's own. What is not
configured gets an embedded provider; settings alone move it to servers: ``INFRA_DATABASE__DEMO__URL=postgresql://...``.
"""

from infra.cli.demo.command import demo as demo
