"""What the outbox keeps of a message, as JSON."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel

from foreshock_dashboard.model.incident import Severity
from foreshock_dashboard.notify.due import Event, Sent
from foreshock_dashboard.store.outbox import OutboxMessage


class MessageBody(BaseModel):
    """A message about an incident. severity, cause: as in `Sent`.

    key: id under which the receiver knows the incident: its first one, though another opening gives it another id.
    """

    service: str
    severity: Severity
    cause: str
    title: str
    text: str
    key: str


def body_of(message: OutboxMessage) -> MessageBody:
    """The body of a message. Raises ValueError if it cannot be read."""
    return MessageBody.model_validate_json(message.body)


def sent(message: OutboxMessage) -> Sent:
    """A message as `due` takes it. Raises ValueError."""
    (event,) = (event for event in get_args(Event) if event == message.event)
    body = body_of(message)
    return Sent(event, body.severity, float(message.at), body.cause, not message.waiting)


def after_drop(message: OutboxMessage) -> OutboxMessage | None:
    """What takes the place of a message that was given up, so that an incident that is still open is notified again.

    The receiver may know the incident by an early warning, so its end is sent in any case.
    """
    if message.event == "early_warning":
        return None
    if message.event == "page":
        body = body_of(message).model_copy(update={"severity": "warning"})
        return message._replace(event="early_warning", body=body.model_dump_json(), waiting=False)
    return message._replace(waiting=False)
