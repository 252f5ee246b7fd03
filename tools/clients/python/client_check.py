"""confluent-kafka: produces idempotently, consumes in a group of two, commits, and resumes; then administers."""
import sys
import threading
import time
import uuid

import confluent_kafka
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, ResourceType

RECORDS = 4000


def produce(bootstrap, topic, start, end):
    failed = []
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5, "compression.type": "snappy"})
    for i in range(start, end):
        producer.produce(topic, key=f"key-{i}", value=f"value-{i}", callback=lambda error, _: error and failed.append(error))
        producer.poll(0)
    assert producer.flush(30) == 0, "records left unsent"
    assert not failed, failed[0]


def consume(bootstrap, topic, group, members, wanted):
    seen, lock, deadline, errors = [], threading.Lock(), time.monotonic() + 60, []

    def member():
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False})
        consumer.subscribe([topic])
        try:
            while len(seen) < wanted and time.monotonic() < deadline:
                message = consumer.poll(0.2)
                if message is None:
                    continue
                if message.error():
                    errors.append(message.error())
                    continue
                assert message.value() == b"value-" + message.key()[4:]
                with lock:
                    seen.append(message.key())
                consumer.commit(message=message, asynchronous=True)
            consumer.commit(asynchronous=False)
        finally:
            consumer.close()

    threads = [threading.Thread(target=member) for _ in range(members)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    return seen


def administer(admin, topic, group):
    for change in admin.create_partitions([NewPartitions(topic, 6)]).values():
        change.result(30)
    resource = ConfigResource(ResourceType.TOPIC, topic)
    entry = ConfigEntry("retention.ms", "3600000", incremental_operation=AlterConfigOpType.SET)
    for change in admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]).values():
        change.result(30)
    deadline = time.monotonic() + 20
    while next(iter(admin.describe_configs([resource]).values())).result(30)["retention.ms"].value != "3600000":
        assert time.monotonic() < deadline, "the configuration did not come"
    listed = admin.list_consumer_groups().result(30).valid
    assert group in [one.group_id for one in listed], listed
    admin.delete_consumer_groups([group])[group].result(30)


def main():
    bootstrap = sys.argv[1]
    topic = f"python-{uuid.uuid4()}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 4, 1)])[topic].result(30)
    print("version", confluent_kafka.__version__, "(librdkafka", confluent_kafka.libversion()[0] + ")")
    produce(bootstrap, topic, 0, RECORDS // 2)
    print("ok produce")
    first = consume(bootstrap, topic, f"{topic}-group", 2, RECORDS // 2)
    assert len(set(first)) == RECORDS // 2, f"the group of two read {len(set(first))}"
    print("ok consume\nok group")
    produce(bootstrap, topic, RECORDS // 2, RECORDS)
    second = consume(bootstrap, topic, f"{topic}-group", 1, RECORDS - RECORDS // 2)
    assert len(set(first) | set(second)) == RECORDS, f"resumed to {len(set(first) | set(second))}"
    assert not set(first) & set(second), "records were read twice after the resume"
    print("ok resume")
    administer(admin, topic, f"{topic}-group")
    admin.delete_topics([topic])[topic].result(30)
    print("ok admin")


main()
