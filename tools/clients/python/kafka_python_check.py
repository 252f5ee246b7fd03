"""kafka-python: produces idempotently, consumes in a group of two, commits, and resumes; then administers."""
import sys
import threading
import time
import uuid

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

RECORDS = 2000


def produce(bootstrap, topic, start, end):
    producer = KafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, linger_ms=5, compression_type="gzip")
    sent = [producer.send(topic, key=b"key-%d" % i, value=b"value-%d" % i) for i in range(start, end)]
    for future in sent:
        future.get(30)
    producer.close()


def consume(bootstrap, topic, group, members, wanted):
    seen, lock, deadline, errors = [], threading.Lock(), time.monotonic() + 60, []

    def member():
        try:
            consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False)
            while len(seen) < wanted and time.monotonic() < deadline:
                for batch in consumer.poll(timeout_ms=200).values():
                    for record in batch:
                        assert record.value == b"value-" + record.key[4:]
                    with lock:
                        seen.extend(record.key for record in batch)
                    consumer.commit()
            consumer.close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=member) for _ in range(members)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return set(seen)


def main():
    bootstrap, topic = sys.argv[1], f"kafka-python-{uuid.uuid4()}"
    group = f"{topic}-group"
    print("version", kafka.__version__)
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, 4, 1)])
    produce(bootstrap, topic, 0, RECORDS // 2)
    print("ok produce")
    first = consume(bootstrap, topic, group, 2, RECORDS // 2)
    assert len(first) == RECORDS // 2, f"the group of two read {len(first)}"
    print("ok consume\nok group")
    produce(bootstrap, topic, RECORDS // 2, RECORDS)
    second = consume(bootstrap, topic, group, 1, RECORDS - RECORDS // 2)
    assert len(first | second) == RECORDS, f"resumed to {len(first | second)}"
    assert not first & second, "records were read twice after the resume"
    print("ok resume")
    admin.create_partitions({topic: 6})
    assert group in [listed["group_id"] if isinstance(listed, dict) else listed[0] for listed in admin.list_groups()]
    admin.delete_groups([group])
    admin.delete_topics([topic])
    admin.close()
    print("ok admin")


main()
