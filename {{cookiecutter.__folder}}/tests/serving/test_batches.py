"""Requests that are predicted together."""

import asyncio
from threading import Event
from types import SimpleNamespace

import polars as pl

from penguin_model.serving import batches

ROW = [{"x": 1}]


class Model:
    """Notes the size of each batch, and holds the first one until it is released."""

    def __init__(self):
        self.schema = SimpleNamespace(frame=pl.from_dicts)
        self.sizes, self.begun, self.released = [], Event(), Event()

    def predictions(self, rows):
        self.sizes.append(rows.height)
        self.begun.set()
        assert self.released.wait(60)
        return rows.select(prediction="x")


def test_two_groups_of_clients_become_one():
    model = Model()

    async def client(collected):
        for _ in range(3):
            await collected.predict(model, ROW)

    async def both():
        collected = batches.Batches(max_waiting=100)
        early = [asyncio.create_task(client(collected)) for _ in range(8)]
        assert await asyncio.to_thread(model.begun.wait, 60)
        late = [asyncio.create_task(client(collected)) for _ in range(8)]
        await asyncio.sleep(0)
        model.released.set()
        await asyncio.gather(*early, *late)

    asyncio.run(both())
    assert model.sizes == [8, 16, 16, 8]


def test_single_request_waits_for_nobody(monkeypatch):
    monkeypatch.setattr(batches, "QUIET", 60)
    model = Model()
    model.released.set()

    async def ask():
        collected = batches.Batches(max_waiting=100)
        for _ in range(3):
            async with asyncio.timeout(30):
                await collected.predict(model, ROW)

    asyncio.run(ask())
    assert model.sizes == [1, 1, 1]


def test_rows_that_the_model_refuses_fail_their_own_request_only():
    model = Model()
    model.released.set()

    def predictions(rows):
        if rows["x"].min() < 0:
            raise ValueError(f"{rows['x'].min()} is negative")
        return rows.select(prediction="x")

    model.predictions = predictions

    async def ask():
        collected = batches.Batches(max_waiting=100)
        asked = [collected.predict(model, [{"x": x}, {"x": 2 * x}]) for x in (1, -2, 3)]
        return await asyncio.gather(*asked, return_exceptions=True)

    first, refused, last = asyncio.run(ask())
    assert [answer["prediction"] for answer in first.answers + last.answers] == [1, 2, 3, 6]
    assert str(refused) == "-4 is negative"
    assert last.rows.equals(pl.DataFrame({"x": [3, 6]}))
    assert last.table.equals(pl.DataFrame({"prediction": [3, 6]}))
