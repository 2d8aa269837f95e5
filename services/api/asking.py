"""Writes: a command to the ledger, its outcome as an answer, and the wait until reads show it."""

from typing import NamedTuple

from msgspec import UNSET

from events.codec import encode_ask
from events.commands import Command, CustomerAsk, Origin
from events.ids import customer_id_from_key, parse_position
from events.replies import Outcome, Reply
from events.sharding import shard_of
from services.api import errors
from services.api.auth import Caller
from services.api.call import Call
from services.api.parsing import attempt_of, wants_no_wait
from services.api.ports import Gateway, NotHandedOver, OutcomeUnknown, Visibility


class Written(NamedTuple):
    """A command that was applied, now or by an earlier request with its key."""

    customer_id: str
    reply: Reply
    visible: bool
    headers: dict[str, str]


class Asking:
    """What all writing routes share."""

    def __init__(self, gateway: Gateway, visibility: Visibility, shards: int, wait_seconds: float) -> None:
        self._gateway = gateway
        self._visibility = visibility
        self._shards = shards
        self._wait_seconds = wait_seconds

    async def write(
        self, call: Call, caller: Caller, customer_id: str | None, ask: CustomerAsk, key: str | None
    ) -> Written:
        """Customer id None: of a new customer, derived from the key, or from the command where there is none.

        Raises:
            ApiError: it was not applied, or nobody knows.
        """
        ticket = self._gateway.ticket()
        subject = customer_id or customer_id_from_key(caller.tenant, key or ticket.command_id)
        command = Command(
            id=ticket.command_id,
            source="/api",
            type=ask.TYPE,
            subject=subject,
            businessid=caller.tenant.business_id,
            mode=caller.tenant.mode,  # type: ignore[arg-type]  # the table's constraint
            origin=Origin.API,
            actor=caller.key_id,
            correlationid=call.request_id.decode(),
            idempotencykey=UNSET if key is None else key,
            attempt=attempt_of(call),
            deadline=ticket.deadline,
            replyto=ticket.replyto,
            awaited=not wants_no_wait(call),
            data=encode_ask(ask),
        )
        try:
            reply = await self._gateway.ask(command, shard_of(subject, self._shards))
        except NotHandedOver as error:
            raise errors.unavailable("The ledger cannot be reached; nothing was applied") from error
        except OutcomeUnknown as error:
            raise errors.outcome_unknown(keyed=key is not None) from error
        if reply.outcome is not Outcome.APPLIED:
            raise _not_applied(reply)
        return await self._shown(call, subject, reply)

    async def _shown(self, call: Call, subject: str, reply: Reply) -> Written:
        no_wait = wants_no_wait(call)
        shard, sequence = parse_position(reply.position)
        visible = await self._visibility.wait(shard, sequence, 0 if no_wait else self._wait_seconds)
        headers = {"ledger-position": reply.position}
        if no_wait:
            headers["preference-applied"] = "respond-async"
        else:
            headers["ledger-applied"] = "true" if visible else "false"
        return Written(subject, reply, visible, headers)


def _not_applied(reply: Reply) -> errors.ApiError:
    match reply.outcome:
        case Outcome.REFUSED:
            return errors.refused(reply.code, reply.position)
        case Outcome.KEY_REUSED:
            return errors.key_reused()
        case Outcome.LATE:
            return errors.deadline_exceeded()
        case Outcome.UNAVAILABLE:
            return errors.unavailable("This part of the ledger is not available; nothing was applied")
        case Outcome.MALFORMED:
            return errors.invalid_body("The ledger does not accept this request")
        case Outcome.FAILED | Outcome.APPLIED:
            return errors.internal()
