"""From settings to pika's parameters."""

from __future__ import annotations

import ssl

import pika

from infra_rabbitmq.settings import RabbitMQQueueSettings

_CONNECT_TIMEOUT = 10.0


def port_of(settings: RabbitMQQueueSettings) -> int:
    """The port, or the usual one."""
    return settings.port or (5671 if settings.tls else 5672)


def place_of(settings: RabbitMQQueueSettings) -> str:
    """Host and port, for messages."""
    return f"{settings.host}:{port_of(settings)}"


def parameters_of(settings: RabbitMQQueueSettings, name: str) -> pika.ConnectionParameters:
    """Parameters for one attempt to connect; reads the password and the certificates anew."""
    options = None
    if settings.tls:
        context = ssl.create_default_context(cafile=None if settings.ca_file is None else str(settings.ca_file))
        if settings.cert_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        options = pika.SSLOptions(context, settings.host)
    return pika.ConnectionParameters(
        host=settings.host,
        port=port_of(settings),
        virtual_host=settings.vhost,
        credentials=pika.PlainCredentials(settings.username, settings.password.reveal()),
        heartbeat=settings.heartbeat,
        ssl_options=options,
        socket_timeout=min(_CONNECT_TIMEOUT, settings.open_timeout),
        stack_timeout=min(_CONNECT_TIMEOUT, settings.open_timeout),
        client_properties={"connection_name": name},
    )
