"""confluent-kafka: produces idempotently, consumes in a group of two, commits, and resumes."""
import sys
import threading
import time
import uuid

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

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


def main():
    bootstrap = sys.argv[1]
    topic = f"python-{uuid.uuid4()}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 4, 1)])[topic].result(30)
    produce(bootstrap, topic, 0, RECORDS // 2)
    first = consume(bootstrap, topic, f"{topic}-group", 2, RECORDS // 2)
    assert len(set(first)) == RECORDS // 2, f"the group of two read {len(set(first))}"
    produce(bootstrap, topic, RECORDS // 2, RECORDS)
    second = consume(bootstrap, topic, f"{topic}-group", 1, RECORDS - RECORDS // 2)
    assert len(set(first) | set(second)) == RECORDS, f"resumed to {len(set(first) | set(second))}"
    assert not set(first) & set(second), "records were read twice after the resume"
    admin.delete_topics([topic])[topic].result(30)
    print("python: ok")


main()
