"""Writes: a command to the ledger, its outcome as an answer, and the wait until reads show it."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import NamedTuple, TypeVar

from msgspec import UNSET, Raw

from events.codec import encode_ask
from events.commands import Command, CustomerAsk, Origin
from events.facts import Refusal
from events.ids import customer_id_from_key, parse_position
from events.replies import Outcome, Reply
from events.requests import RequestAsk
from events.sharding import shard_of
from services.api import errors
from services.api.auth import Caller
from services.api.call import Call
from services.api.parsing.values import attempt_of, wants_no_wait
from services.api.ports import (
    Gateway,
    NotHandedOver,
    OutcomeUnknown,
    Ticket,
    ViewsUnavailable,
    Visibility,
)

T = TypeVar("T")


class Written(NamedTuple):
    """A command that was applied, now or by an earlier request with its key."""

    customer_id: str
    reply: Reply
    visible: bool
    headers: dict[str, str]

    @property
    def unshown(self) -> dict[str, str]:
        """The headers where the read models had nothing to show of it, whatever was heard of them."""
        return self.headers | {"ledger-applied": "false"}


class Asking:
    """What all writing routes share."""

    def __init__(self, gateway: Gateway, visibility: Visibility, shards: int, wait_seconds: float) -> None:
        self._gateway = gateway
        self._visibility = visibility
        self._shards = shards
        self._wait_seconds = wait_seconds

    async def write(
        self,
        call: Call,
        caller: Caller,
        customer_id: str | None,
        ask: CustomerAsk | RequestAsk,
        key: str | None,
    ) -> Written:
        """Customer id None: of a new customer, derived from the key, or from the command where there is none.

        Raises:
            ApiError: it was not applied, or nobody knows.
        """
        ticket = self._gateway.ticket()
        subject = customer_id or customer_id_from_key(caller.tenant, key or ticket.command_id)
        command = self.command(call, caller, subject, ask.TYPE, encode_ask(ask), key, ticket)
        reply = await self.ask(command, keyed=key is not None)
        if reply.outcome is not Outcome.APPLIED:
            raise not_applied(reply)
        shard, sequence = parse_position(reply.position)
        visible, headers = await self.shown(call, {shard: sequence})
        return Written(subject, reply, visible, {"ledger-position": reply.position, **headers})

    def command(
        self,
        call: Call,
        caller: Caller,
        subject: str,
        kind: str,
        data: Raw,
        key: str | None = None,
        ticket: Ticket | None = None,
    ) -> Command:
        """In the caller's name."""
        ticket = ticket or self._gateway.ticket()
        return Command(
            id=ticket.command_id,
            source="/api",
            type=kind,
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
            data=data,
        )

    async def ask(self, command: Command, *, keyed: bool) -> Reply:
        """What became of it. `keyed`: to repeat it is safe.

        Raises:
            ApiError: it was not handed over, or nobody knows.
        """
        try:
            return await self._gateway.ask(command, shard_of(command.subject, self._shards))
        except NotHandedOver as error:
            raise errors.unavailable("The ledger cannot be reached; nothing was applied") from error
        except OutcomeUnknown as error:
            raise errors.outcome_unknown(keyed=keyed) from error

    async def shown(self, call: Call, positions: Mapping[int, int]) -> tuple[bool, dict[str, str]]:
        """Wait until reads show these positions, unless the caller does not want that; and what the answer says."""
        for shard, sequence in positions.items():
            self._visibility.owe(shard, sequence)
        no_wait = wants_no_wait(call)
        seconds = 0 if no_wait else self._wait_seconds
        waits = [self._visibility.wait(shard, sequence, seconds) for shard, sequence in positions.items()]
        visible = all(await asyncio.gather(*waits)) if len(waits) != 1 else await waits[0]
        if no_wait:
            return visible, {"preference-applied": "respond-async"}
        return visible, {"ledger-applied": "true" if visible else "false"}


async def unless_away(reading: Awaitable[T]) -> T | None:
    """None where the read models cannot be reached: what was written was, and a 503 would deny it."""
    try:
        return await reading
    except ViewsUnavailable:
        return None


def not_applied(reply: Reply) -> errors.ApiError:
    """The answer to whoever asked for what was not applied."""
    match reply.outcome:
        case Outcome.REFUSED:
            return errors.refused(reply.code, reply.position)
        case Outcome.KEY_REUSED:
            return (
                errors.key_reused()
                if reply.code != Refusal.ANOTHER_ENTRY_FAILED
                else errors.refused(reply.code)
            )
        case Outcome.LATE:
            return errors.deadline_exceeded()
        case Outcome.UNAVAILABLE:
            return errors.unavailable("This part of the ledger is not available; nothing was applied")
        case Outcome.MALFORMED:
            return errors.invalid_body("The ledger does not accept this request")
        case Outcome.FAILED | Outcome.APPLIED | Outcome.UNCHANGED:
            return errors.internal()
