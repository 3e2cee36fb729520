"""Kafka: librdkafka's own cluster in memory, which is another implementation than our client; no broker was to be had."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from servers import free_port

from hids.adapters.outputs.kafka import KafkaDestination
from hids.core.delivery import Delivery, Refused
from hids.core.outputs import Kafka

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    admin = AdminClient({"test.mock.num.brokers": 1, "bootstrap.servers": "none", "log_level": 0})
    (found,) = admin.list_topics(timeout=10).brokers.values()
    yield f"{found.host}:{found.port}"
    del admin


@pytest.fixture
def deliver(make_lines: Callable[..., bytes]) -> Callable[..., Delivery]:
    def make(first: int, count: int = 1, **members: Any) -> Delivery:
        lines = make_lines(first, count, **members).split(b"\n")[:-1]
        return Delivery(first, first + count - 1, tuple(lines))

    return make


def post(output: Kafka, *deliveries: Delivery) -> None:
    async def go() -> None:
        destination = KafkaDestination(output)
        try:
            for delivery in deliveries:
                await destination.post(delivery)
        finally:
            await destination.close()

    asyncio.run(go())


def consume(broker: str, topic: str, count: int) -> list[Any]:
    consumer = Consumer({"bootstrap.servers": broker, "group.id": topic})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        found: list[Any] = []
        while len(found) < count:
            record = consumer.poll(10)
            assert record is not None, f"{len(found)} of {count} records came"
            if record.error() is None:
                found.append(record)
        return found
    finally:
        consumer.close()


def test_alerts_arrive_with_key_and_id(broker: str, deliver: Callable[..., Delivery]):
    post(Kafka(servers=(broker,), topic="all"), deliver(1, 50), deliver(51, 50))
    records = consume(broker, "all", 100)
    assert [record.value() for record in records] == [*deliver(1, 100).alerts]
    assert records[0].key() == b"007"
    assert records[0].headers() == [("id", b"007-1-1")]


def test_an_alert_larger_than_any_request_is_hopeless(broker: str, deliver: Callable[..., Delivery]):
    large = deliver(2, full_log="x" * 5_000_000).alerts
    with pytest.raises(Refused) as refused:
        post(Kafka(servers=(broker,), topic="large"), Delivery(1, 3, (*deliver(1).alerts, *large, b"{")))
    assert refused.value.taken == {0}
    assert refused.value.hopeless.keys() == {1, 2}
    assert len(consume(broker, "large", 1)) == 1


def test_nobody_is_there(deliver: Callable[..., Delivery]):
    with pytest.raises(Refused) as refused:
        post(Kafka(servers=(f"127.0.0.1:{free_port()}",), timeout_s=2), deliver(1))
    assert refused.value.hopeless == {}
