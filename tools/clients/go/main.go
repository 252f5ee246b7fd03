// franz-go: produces idempotently, consumes in a group of two, commits, and resumes; then administers.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const records = 5000

func main() {
	bootstrap := os.Args[1]
	topic := fmt.Sprintf("go-%d", time.Now().UnixNano())
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/twmb/franz-go" {
				fmt.Println("version", module.Version)
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	createTopic(ctx, bootstrap, topic)
	produce(ctx, bootstrap, topic, 0, records/2)
	fmt.Println("ok produce")
	first := consume(ctx, bootstrap, topic, 2, records/2)
	expect(len(first) == records/2, "the group of two read %d", len(first))
	fmt.Println("ok consume\nok group")
	produce(ctx, bootstrap, topic, records/2, records)
	second := consume(ctx, bootstrap, topic, 1, records/2)
	for key := range second {
		expect(!first[key], "%s was read twice after the resume", key)
	}
	expect(len(first)+len(second) == records, "resumed to %d", len(first)+len(second))
	fmt.Println("ok resume")
	administer(ctx, bootstrap, topic)
	fmt.Println("ok admin")
}

func administer(ctx context.Context, bootstrap, topic string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	expect(err == nil, "%v", err)
	admin := kadm.NewClient(client)
	defer admin.Close()
	_, err = admin.BrokerMetadata(ctx)
	expect(err == nil, "metadata: %v", err)
	grown, err := admin.UpdatePartitions(ctx, 6, topic)
	expect(err == nil && grown.Error() == nil, "partitions: %v %v", err, grown.Error())
	hour := "3600000"
	changed, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "retention.ms", Value: &hour}}, topic)
	expect(err == nil && changed[0].Err == nil, "configs: %v %+v", err, changed)
	deleted, err := admin.DeleteRecords(ctx, kadm.Offsets{topic: {0: kadm.Offset{Topic: topic, Partition: 0, At: 5}}})
	expect(err == nil && deleted.Error() == nil, "delete records: %v %v", err, deleted.Error())
	starts, err := admin.ListStartOffsets(ctx, topic)
	start, _ := starts.Lookup(topic, 0)
	expect(err == nil && start.Offset == 5, "records below 5 were deleted, and the log starts at %d", start.Offset)
	lag, err := admin.Lag(ctx, topic+"-group")
	expect(err == nil && lag.Error() == nil, "lag: %v %v", err, lag.Error())
	groups, err := admin.DeleteGroups(ctx, topic+"-group")
	expect(err == nil && groups.Error() == nil, "delete group: %v %v", err, groups.Error())
	topics, err := admin.DeleteTopics(ctx, topic)
	expect(err == nil && topics.Error() == nil, "delete topic: %v %v", err, topics.Error())
}

func createTopic(ctx context.Context, bootstrap, topic string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	expect(err == nil, "%v", err)
	defer client.Close()
	request := kmsg.NewPtrCreateTopicsRequest()
	wanted := kmsg.NewCreateTopicsRequestTopic()
	wanted.Topic, wanted.NumPartitions, wanted.ReplicationFactor = topic, 4, 1
	request.Topics = append(request.Topics, wanted)
	response, err := request.RequestWith(ctx, client)
	expect(err == nil && response.Topics[0].ErrorCode == 0, "create: %v %+v", err, response)
}

func produce(ctx context.Context, bootstrap, topic string, from, to int) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(5*time.Millisecond))
	expect(err == nil, "%v", err)
	defer client.Close()
	for i := from; i < to; i++ {
		record := &kgo.Record{Key: fmt.Appendf(nil, "key-%d", i), Value: fmt.Appendf(nil, "value-%d", i)}
		client.Produce(ctx, record, func(_ *kgo.Record, err error) { expect(err == nil, "produce: %v", err) })
	}
	expect(client.Flush(ctx) == nil, "flush")
}

func consume(ctx context.Context, bootstrap, topic string, members, wanted int) map[string]bool {
	seen, lock, all := map[string]bool{}, sync.Mutex{}, sync.WaitGroup{}
	done, stop := context.WithCancel(ctx)
	defer stop()
	for range members {
		all.Add(1)
		go func() {
			defer all.Done()
			client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(topic+"-group"),
				kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
			expect(err == nil, "%v", err)
			defer client.Close()
			for done.Err() == nil {
				fetches := client.PollFetches(done)
				lock.Lock()
				fetches.EachRecord(func(record *kgo.Record) {
					key := string(record.Key)
					expect(string(record.Value) == "value-"+key[4:], "wrong value for %s", key)
					seen[key] = true
				})
				enough := len(seen) >= wanted
				lock.Unlock()
				expect(client.CommitUncommittedOffsets(ctx) == nil, "commit")
				if enough {
					stop()
				}
			}
		}()
	}
	all.Wait()
	expect(ctx.Err() == nil, "only %d of %d records came in time", len(seen), wanted)
	return seen
}

func expect(condition bool, otherwise string, arguments ...any) {
	if !condition {
		fmt.Fprintf(os.Stderr, otherwise+"\n", arguments...)
		os.Exit(1)
	}
}
