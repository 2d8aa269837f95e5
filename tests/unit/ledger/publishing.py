"""What tests of the relay begin with."""

from tests.fakes.asking import REGISTER, credit
from tests.fakes.broker import PublishFailed
from tests.fakes.world import World

A = "cus_a"
FAILURE = PublishFailed("NotEnoughReplicas")


async def spoken(world: World, count: int) -> int:
    """A customer with so many events; its shard."""
    async with world.node():
        await world.ask(A, REGISTER)
        for _ in range(count - 1):
            await world.ask(A, credit(1))
        await world.taken()
    return world.shard(A)
