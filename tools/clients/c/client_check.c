/* librdkafka: produces idempotently, consumes in a group of two, commits, and resumes; then administers. */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RECORDS = 4000, PATIENCE_S = 60 };

static char error[512];

#define EXPECT(condition, ...)                                                                                                   \
	do {                                                                                                                         \
		if (!(condition)) {                                                                                                      \
			fprintf(stderr, __VA_ARGS__);                                                                                        \
			fputc('\n', stderr);                                                                                                 \
			exit(1);                                                                                                             \
		}                                                                                                                        \
	} while (0)

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
	EXPECT(rd_kafka_conf_set(conf, name, value, error, sizeof error) == RD_KAFKA_CONF_OK, "%s: %s", name, error);
}

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
	(void)client, (void)opaque;
	EXPECT(!message->err, "produce: %s", rd_kafka_err2str(message->err));
}

static void produce(const char *bootstrap, const char *topic, int from, int to) {
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	set(conf, "bootstrap.servers", bootstrap);
	set(conf, "enable.idempotence", "true");
	set(conf, "compression.type", "lz4");
	rd_kafka_conf_set_dr_msg_cb(conf, delivered);
	rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
	EXPECT(producer, "producer: %s", error);
	for (int i = from; i < to; i++) {
		char key[32], value[32];
		int key_length = snprintf(key, sizeof key, "key-%d", i), value_length = snprintf(value, sizeof value, "value-%d", i);
		rd_kafka_resp_err_t failed = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(key, key_length),
			RD_KAFKA_V_VALUE(value, value_length), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
		EXPECT(!failed, "produce: %s", rd_kafka_err2str(failed));
		rd_kafka_poll(producer, 0);
	}
	EXPECT(!rd_kafka_flush(producer, 30000), "records left unsent");
	rd_kafka_destroy(producer);
}

static rd_kafka_t *join(const char *bootstrap, const char *topic, const char *group) {
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	set(conf, "bootstrap.servers", bootstrap);
	set(conf, "group.id", group);
	set(conf, "auto.offset.reset", "earliest");
	set(conf, "enable.auto.commit", "false");
	rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error);
	EXPECT(consumer, "consumer: %s", error);
	rd_kafka_poll_set_consumer(consumer);
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
	rd_kafka_resp_err_t failed = rd_kafka_subscribe(consumer, topics);
	EXPECT(!failed, "subscribe: %s", rd_kafka_err2str(failed));
	rd_kafka_topic_partition_list_destroy(topics);
	return consumer;
}

/* The members take turns in one thread. Counts in `seen` how often each record came, and gives back how many did. */
static int consume(const char *bootstrap, const char *topic, const char *group, int members, int wanted, int *seen) {
	rd_kafka_t *consumers[2];
	int count = 0;
	time_t end = time(NULL) + PATIENCE_S;
	for (int i = 0; i < members; i++)
		consumers[i] = join(bootstrap, topic, group);
	while (count < wanted && time(NULL) < end) {
		for (int i = 0; i < members; i++) {
			rd_kafka_message_t *message = rd_kafka_consumer_poll(consumers[i], 20);
			if (!message)
				continue;
			EXPECT(!message->err, "consume: %s", rd_kafka_message_errstr(message));
			int number = atoi((const char *)message->key + 4);
			EXPECT(number >= 0 && number < RECORDS, "an unknown key");
			count += !seen[number]++;
			rd_kafka_commit_message(consumers[i], message, 1);
			rd_kafka_message_destroy(message);
		}
	}
	for (int i = 0; i < members; i++) {
		rd_kafka_commit(consumers[i], NULL, 0);
		rd_kafka_consumer_close(consumers[i]);
		rd_kafka_destroy(consumers[i]);
	}
	return count;
}

static rd_kafka_event_t *answer(rd_kafka_queue_t *queue) {
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 30000);
	EXPECT(event, "no answer to an admin request");
	EXPECT(!rd_kafka_event_error(event), "%s: %s", rd_kafka_event_name(event), rd_kafka_event_error_string(event));
	return event;
}

static void expect_topics(const rd_kafka_topic_result_t **results, size_t count) {
	EXPECT(count == 1 && !rd_kafka_topic_result_error(results[0]), "admin: %s", count ? rd_kafka_topic_result_error_string(results[0]) : "nothing");
}

int main(int argc, char **argv) {
	EXPECT(argc == 2, "usage: client_check HOST:PORT");
	const char *bootstrap = argv[1];
	char topic[64], group[80];
	snprintf(topic, sizeof topic, "librdkafka-%ld-%d", (long)time(NULL), (int)clock());
	snprintf(group, sizeof group, "%s-group", topic);
	printf("version %s\n", rd_kafka_version_str());
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	set(conf, "bootstrap.servers", bootstrap);
	rd_kafka_t *admin = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
	EXPECT(admin, "admin: %s", error);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(admin);
	size_t count;
	rd_kafka_NewTopic_t *wanted = rd_kafka_NewTopic_new(topic, 4, 1, error, sizeof error);
	rd_kafka_CreateTopics(admin, &wanted, 1, NULL, queue);
	rd_kafka_event_t *event = answer(queue);
	expect_topics(rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count), 1);
	rd_kafka_event_destroy(event);
	rd_kafka_NewTopic_destroy(wanted);

	static int seen[RECORDS];
	produce(bootstrap, topic, 0, RECORDS / 2);
	puts("ok produce");
	int first = consume(bootstrap, topic, group, 2, RECORDS / 2, seen);
	EXPECT(first == RECORDS / 2, "the group of two read %d", first);
	puts("ok consume\nok group");
	for (int i = 0; i < RECORDS; i++)
		seen[i] = 0;
	produce(bootstrap, topic, RECORDS / 2, RECORDS);
	int second = consume(bootstrap, topic, group, 1, RECORDS / 2, seen);
	EXPECT(second == RECORDS / 2, "resumed to %d", second);
	for (int i = 0; i < RECORDS / 2; i++)
		EXPECT(!seen[i], "key-%d was read twice after the resume", i);
	puts("ok resume");

	rd_kafka_NewPartitions_t *more = rd_kafka_NewPartitions_new(topic, 6, error, sizeof error);
	rd_kafka_CreatePartitions(admin, &more, 1, NULL, queue);
	event = answer(queue);
	expect_topics(rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(event), &count), 1);
	rd_kafka_event_destroy(event);
	rd_kafka_NewPartitions_destroy(more);
	rd_kafka_DeleteGroup_t *doomed_group = rd_kafka_DeleteGroup_new(group);
	rd_kafka_DeleteGroups(admin, &doomed_group, 1, NULL, queue);
	event = answer(queue);
	const rd_kafka_group_result_t **groups = rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event), &count);
	EXPECT(count == 1 && !rd_kafka_group_result_error(groups[0]), "delete group");
	rd_kafka_event_destroy(event);
	rd_kafka_DeleteGroup_destroy(doomed_group);
	rd_kafka_DeleteTopic_t *doomed = rd_kafka_DeleteTopic_new(topic);
	rd_kafka_DeleteTopics(admin, &doomed, 1, NULL, queue);
	event = answer(queue);
	expect_topics(rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count), 1);
	rd_kafka_event_destroy(event);
	rd_kafka_DeleteTopic_destroy(doomed);
	puts("ok admin");
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(admin);
	return 0;
}
