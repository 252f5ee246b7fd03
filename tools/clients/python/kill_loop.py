"""An idempotent producer and a group that commits, while the broker is killed again and again.

Runs until its standard input ends; then everything has to be acknowledged, read and accounted for.
Usage: kill_loop.py BOOTSTRAP FILE, which gets the number of acknowledged records.
"""

import sys
import threading
import time
from collections import defaultdict

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

TOPIC = "killed"
PARTITIONS = 4
GROUP = "survivors"
COMMIT_EVERY = 40
PATIENCE_S = 180


def create_topic(bootstrap):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)]).values():
        future.result(PATIENCE_S)


class Sender:
    """Numbers each partition's records from 0, and remembers where each was said to be."""

    def __init__(self, bootstrap, progress):
        self.producer = Producer({
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 2,
            "message.timeout.ms": 300_000,
            "reconnect.backoff.max.ms": 500,
        })
        self.sent = [0] * PARTITIONS
        self.places = [{} for _ in range(PARTITIONS)]
        self.problems = []
        self.progress = progress

    def told(self, error, message):
        if error is not None:
            self.problems.append(f"not acknowledged: {error}")
            return
        places = self.places[message.partition()]
        number = int(message.value())
        if number in places:
            self.problems.append(f"acknowledged twice: {number}")
        places[number] = message.offset()

    def run(self, stop):
        turn = 0
        while not stop.is_set():
            partition = turn % PARTITIONS
            value = str(self.sent[partition])
            try:
                self.producer.produce(TOPIC, value, partition=partition, on_delivery=self.told)
            except BufferError:
                self.producer.poll(0.1)
                continue
            self.sent[partition] += 1
            turn += 1
            self.producer.poll(0)
            if turn % 20 == 0:
                self.tell()
                time.sleep(0.05)
        left = self.producer.flush(PATIENCE_S)
        if left:
            self.problems.append(f"{left} records are never acknowledged")

    def tell(self):
        with open(self.progress, "w") as file:
            file.write(str(sum(map(len, self.places))))


class Member:
    """Reads as a group of one, commits now and then, and remembers every record it was handed."""

    def __init__(self, bootstrap):
        self.consumer = Consumer({
            "bootstrap.servers": bootstrap,
            "group.id": GROUP,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 10_000,
            "reconnect.backoff.max.ms": 500,
        })
        self.seen = [[] for _ in range(PARTITIONS)]
        # Acknowledged commits, and those that may have been taken.
        self.committed = defaultdict(int)
        self.asked = defaultdict(set)
        self.expected = {}
        self.problems = []

    def assigned(self, consumer, partitions):
        found = consumer.committed([TopicPartition(TOPIC, it.partition) for it in partitions], timeout=PATIENCE_S)
        for place in found:
            offset = max(place.offset, 0)
            partition = place.partition
            if offset < self.committed[partition]:
                self.problems.append(f"commit of {partition} went back from {self.committed[partition]} to {offset}")
            elif offset != self.committed[partition] and offset not in self.asked[partition]:
                self.problems.append(f"commit of {partition} is {offset}, which nobody asked for")
            self.committed[partition] = offset
            self.expected[partition] = offset
        consumer.assign([TopicPartition(TOPIC, it.partition, self.expected[it.partition]) for it in found])

    def take(self, message):
        partition, offset = message.partition(), message.offset()
        if offset != self.expected.get(partition):
            self.problems.append(f"{partition}: offset {offset} instead of {self.expected.get(partition)}")
        self.expected[partition] = offset + 1
        seen = self.seen[partition]
        if offset == len(seen):
            seen.append(message.value())
        elif offset > len(seen):
            self.problems.append(f"{partition}: offsets up to {offset} were left out")
        elif seen[offset] != message.value():
            self.problems.append(f"{partition}: offset {offset} was {seen[offset]} and is {message.value()}")

    def commit(self):
        offsets = [TopicPartition(TOPIC, partition, offset) for partition, offset in self.expected.items()]
        for place in offsets:
            self.asked[place.partition].add(place.offset)
        try:
            for place in self.consumer.commit(offsets=offsets, asynchronous=False):
                if place.error is None:
                    self.committed[place.partition] = max(self.committed[place.partition], place.offset)
        except KafkaException:
            pass  # The next one is for more.

    def run(self, is_done):
        self.consumer.subscribe([TOPIC], on_assign=self.assigned)
        count = 0
        while not is_done(self):
            message = self.consumer.poll(0.2)
            if message is None or message.error():
                continue
            self.take(message)
            count += 1
            if count % COMMIT_EVERY == 0:
                self.commit()
        self.consumer.close()


def main():
    bootstrap, progress = sys.argv[1:]
    create_topic(bootstrap)
    sender, member, stop = Sender(bootstrap, progress), Member(bootstrap), threading.Event()
    finished = threading.Event()
    deadline = []

    def is_done(it):
        if not finished.is_set():
            return False
        is_late = time.monotonic() > deadline[0]
        return is_late or [len(seen) for seen in it.seen] == [len(places) for places in sender.places]

    sending = threading.Thread(target=sender.run, args=(stop,))
    reading = threading.Thread(target=member.run, args=(is_done,))
    sending.start()
    reading.start()
    sys.stdin.read()
    stop.set()
    sending.join()
    deadline.append(time.monotonic() + PATIENCE_S)
    finished.set()
    reading.join()

    problems = sender.problems + member.problems
    for partition in range(PARTITIONS):
        places, seen = sender.places[partition], member.seen[partition]
        if sorted(places) != list(range(sender.sent[partition])):
            problems.append(f"{partition}: {sender.sent[partition]} sent, {len(places)} acknowledged")
        if [int(value) for value in seen] != list(range(sender.sent[partition])):
            problems.append(f"{partition}: the group saw {len(seen)} records of {sender.sent[partition]}, or others")
        for number, offset in places.items():
            if offset != number:
                problems.append(f"{partition}: record {number} was said to be at {offset}")
                break
    for problem in problems[:20]:
        print(problem)
    if problems:
        sys.exit(f"{len(problems)} problems")
    print(f"kill-loop: {sum(sender.sent)} records, each there once and seen by the group, none lost or doubled")


main()
