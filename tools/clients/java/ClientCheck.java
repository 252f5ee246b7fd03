import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.*;

/** Produces idempotently, consumes in a group of two, commits, and resumes; then administers. */
public class ClientCheck {
    static final int RECORDS = 5000;

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0], topic = "java-" + UUID.randomUUID(), group = topic + "-group";
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(topic, 4, (short) 1))).all().get();
            System.out.println("version " + org.apache.kafka.common.utils.AppInfoParser.getVersion());
            produce(bootstrap, topic, 0, RECORDS / 2);
            System.out.println("ok produce");
            Set<String> first = consume(bootstrap, topic, group, 2, RECORDS / 2);
            expect(first.size() == RECORDS / 2, "the group of two read " + first.size());
            System.out.println("ok consume\nok group");
            produce(bootstrap, topic, RECORDS / 2, RECORDS);
            Set<String> second = consume(bootstrap, topic, group, 1, RECORDS - RECORDS / 2);
            expect(Collections.disjoint(first, second), "records were read twice after the resume");
            expect(first.size() + second.size() == RECORDS, "resumed to " + (first.size() + second.size()));
            System.out.println("ok resume");
            var described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            expect(described.members().isEmpty(), "members left: " + described.members());
            var offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            long committed = offsets.values().stream().mapToLong(OffsetAndMetadata::offset).sum();
            expect(committed == RECORDS, "committed " + committed);
            var latest = admin.listOffsets(Map.of(new TopicPartition(topic, 0), OffsetSpec.maxTimestamp())).all().get();
            expect(latest.get(new TopicPartition(topic, 0)).offset() >= 0, "no record of maximum timestamp");
            administer(admin, topic, group);
            admin.deleteTopics(List.of(topic)).all().get();
        }
        System.out.println("ok admin");
    }

    static void administer(Admin admin, String topic, String group) throws Exception {
        expect(admin.describeCluster().nodes().get().size() >= 1, "no nodes");
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(6))).all().get();
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var change = new AlterConfigOp(new ConfigEntry("retention.ms", "3600000"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
        until(() -> admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value().equals("3600000"), "the configuration");
        until(() -> admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 6, "the new partitions");
        var partition = new TopicPartition(topic, 0);
        admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(5))).all().get();
        long start = admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).all().get().get(partition).offset();
        expect(start == 5, "records below 5 were deleted, and the log starts at " + start);
        admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(5))).all().get();
        admin.deleteConsumerGroupOffsets(group, Set.of(partition)).all().get();
        admin.deleteConsumerGroups(List.of(group)).all().get();
        until(() -> admin.listConsumerGroups().all().get().stream().noneMatch(listed -> listed.groupId().equals(group)), "the end of the group");
    }

    /** Kafka answers when its controller knows of a change, and its brokers show it a little later. */
    static void until(Callable<Boolean> condition, String what) throws Exception {
        long deadline = System.nanoTime() + Duration.ofSeconds(20).toNanos();
        while (!condition.call()) expect(System.nanoTime() < deadline, what + " did not come");
    }

    static void produce(String bootstrap, String topic, int from, int to) throws Exception {
        var settings = new HashMap<String, Object>(Map.of("bootstrap.servers", bootstrap, "linger.ms", 5, "acks", "all",
            "enable.idempotence", true, "compression.type", from == 0 ? "lz4" : "zstd"));
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            var sent = new ArrayList<Future<RecordMetadata>>();
            for (int i = from; i < to; i++) sent.add(producer.send(new ProducerRecord<>(topic, "key-" + i, "value-" + i)));
            for (var future : sent) future.get();
        }
    }

    static Set<String> consume(String bootstrap, String topic, String group, int members, int wanted) throws Exception {
        Set<String> seen = ConcurrentHashMap.newKeySet();
        var pool = Executors.newFixedThreadPool(members);
        var running = new ArrayList<Future<?>>();
        long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
        for (int member = 0; member < members; member++) {
            running.add(pool.submit(() -> {
                var settings = new HashMap<String, Object>(Map.of("bootstrap.servers", bootstrap, "group.id", group,
                    "auto.offset.reset", "earliest", "enable.auto.commit", false,
                    "partition.assignment.strategy", CooperativeStickyAssignor.class.getName()));
                try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
                    consumer.subscribe(List.of(topic));
                    while (seen.size() < wanted && System.nanoTime() < deadline) {
                        var records = consumer.poll(Duration.ofMillis(200));
                        for (var record : records) {
                            expect(record.value().equals("value-" + record.key().substring(4)), "wrong value " + record);
                            expect(seen.add(record.key()), "read twice: " + record.key());
                        }
                        if (!records.isEmpty()) consumer.commitSync();
                    }
                }
                return null;
            }));
        }
        for (var future : running) future.get();
        pool.shutdown();
        return seen;
    }

    static void expect(boolean condition, String otherwise) {
        if (!condition) throw new AssertionError(otherwise);
    }
}
