"""aiokafka: produces idempotently, consumes in a group of two, commits, and resumes; then administers."""
import asyncio
import sys
import uuid

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic

RECORDS = 2000


async def produce(bootstrap, topic, start, end):
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, linger_ms=5, compression_type="gzip")
    await producer.start()
    try:
        sent = [await producer.send(topic, key=b"key-%d" % i, value=b"value-%d" % i) for i in range(start, end)]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def consume(bootstrap, topic, group, members, wanted):
    seen = []

    async def member():
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False)
        await consumer.start()
        try:
            while len(seen) < wanted:
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    for record in batch:
                        assert record.value == b"value-" + record.key[4:]
                        seen.append(record.key)
                    # A member that lost the partition meanwhile is told so, and what it read is read again.
                    await consumer.commit()
        finally:
            await consumer.stop()

    await asyncio.wait_for(asyncio.gather(*(member() for _ in range(members))), 60)
    return set(seen)


async def main():
    bootstrap, topic = sys.argv[1], f"aiokafka-{uuid.uuid4()}"
    print("version", aiokafka.__version__)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 4, 1)])
    await produce(bootstrap, topic, 0, RECORDS // 2)
    print("ok produce")
    first = await consume(bootstrap, topic, f"{topic}-group", 2, RECORDS // 2)
    assert len(first) == RECORDS // 2, f"the group of two read {len(first)}"
    print("ok consume\nok group")
    await produce(bootstrap, topic, RECORDS // 2, RECORDS)
    second = await consume(bootstrap, topic, f"{topic}-group", 1, RECORDS - RECORDS // 2)
    assert len(first | second) == RECORDS, f"resumed to {len(first | second)}"
    assert not first & second, "records were read twice after the resume"
    print("ok resume")
    await admin.create_partitions({topic: NewPartitions(6)})
    described = await admin.describe_topics([topic])
    assert len(described[0]["partitions"]) == 6, described
    groups = await admin.list_consumer_groups()
    assert any(group[0] == f"{topic}-group" for group in groups), groups
    await admin.delete_topics([topic])
    await admin.close()
    print("ok admin")


asyncio.run(main())
