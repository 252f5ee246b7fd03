import java.time.Duration;
import java.util.*;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;

/** Counts words at least once, in two instances of which one leaves in between: repartitioning, state stores, changelogs. */
public class WordCount {
    static final int LINES = 2000;
    static final List<String> WORDS = List.of("warp", "weft", "loom", "skein");

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0], id = "streams-" + UUID.randomUUID(), in = id + "-lines", out = id + "-counts";
        System.out.println("version " + org.apache.kafka.common.utils.AppInfoParser.getVersion());
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(in, 4, (short) 1), new NewTopic(out, 4, (short) 1))).all().get();
            produce(bootstrap, in, 0, LINES / 2);
            System.out.println("ok produce");
            KafkaStreams first = start(bootstrap, id, in, out), second = start(bootstrap, id, in, out);
            expectCounts(bootstrap, out, LINES / 2);
            System.out.println("ok consume\nok group");
            first.close(Duration.ofSeconds(30));
            produce(bootstrap, in, LINES / 2, LINES);
            expectCounts(bootstrap, out, LINES);
            second.close(Duration.ofSeconds(30));
            System.out.println("ok resume");
            var internal = admin.listTopics().names().get().stream().filter(name -> name.startsWith(id + "-") && !name.equals(in) && !name.equals(out)).toList();
            if (internal.size() != 2) throw new AssertionError("internal topics: " + internal);
            admin.deleteTopics(internal).all().get();
            // Instances that close keep their membership, so that a restart does not rebalance.
            admin.removeMembersFromConsumerGroup(id, new RemoveMembersFromConsumerGroupOptions()).all().get();
            admin.deleteConsumerGroups(List.of(id)).all().get();
            System.out.println("ok admin");
        }
        System.exit(0);
    }

    static void produce(String bootstrap, String topic, int from, int to) throws Exception {
        try (var producer = new KafkaProducer<>(Map.of("bootstrap.servers", bootstrap), new StringSerializer(), new StringSerializer())) {
            for (int i = from; i < to; i++) producer.send(new ProducerRecord<>(topic, "line-" + i, String.join(" ", WORDS)));
        }
    }

    static KafkaStreams start(String bootstrap, String id, String in, String out) throws Exception {
        var builder = new StreamsBuilder();
        builder.stream(in, Consumed.with(Serdes.String(), Serdes.String()))
            .flatMapValues(line -> List.of(line.split(" ")))
            .groupBy((line, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
            .count(Materialized.with(Serdes.String(), Serdes.Long()))
            .toStream().to(out, Produced.with(Serdes.String(), Serdes.Long()));
        var settings = new Properties();
        settings.putAll(Map.of("application.id", id, "bootstrap.servers", bootstrap, "commit.interval.ms", 200, "processing.guarantee", "at_least_once",
            "state.dir", java.nio.file.Files.createTempDirectory("streams").toString()));
        var streams = new KafkaStreams(builder.build(), settings);
        var running = new CountDownLatch(1);
        streams.setStateListener((now, before) -> { if (now == KafkaStreams.State.RUNNING) running.countDown(); });
        streams.start();
        if (!running.await(60, TimeUnit.SECONDS)) throw new AssertionError("not running: " + streams.state());
        return streams;
    }

    /** Waits until the newest count of every word is at least what it has to be. */
    static void expectCounts(String bootstrap, String topic, long wanted) {
        var counts = new HashMap<String, Long>();
        long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
        var settings = Map.<String, Object>of("bootstrap.servers", bootstrap, "group.id", topic + UUID.randomUUID(), "auto.offset.reset", "earliest");
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new LongDeserializer())) {
            consumer.subscribe(List.of(topic));
            while (!WORDS.stream().allMatch(word -> counts.getOrDefault(word, 0L) >= wanted)) {
                if (System.nanoTime() > deadline) throw new AssertionError("counted " + counts);
                for (var record : consumer.poll(Duration.ofMillis(200))) counts.put(record.key(), record.value());
            }
        }
    }
}
