// kafka-go: produces, consumes in a group of two, commits, and resumes; then administers.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

const records = 2000

func main() {
	bootstrap, topic := os.Args[1], fmt.Sprintf("kafka-go-%d", time.Now().UnixNano())
	group := topic + "-group"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/segmentio/kafka-go" {
				fmt.Println("version", module.Version)
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
	defer cancel()
	client := &kafka.Client{Addr: kafka.TCP(bootstrap), Timeout: 20 * time.Second}
	created, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: 4, ReplicationFactor: 1}}})
	expect(err == nil && created.Errors[topic] == nil, "create: %v %+v", err, created)
	produce(ctx, bootstrap, topic, 0, records/2)
	fmt.Println("ok produce")
	first := consume(ctx, bootstrap, topic, group, 2, records/2)
	expect(len(first) == records/2, "the group of two read %d", len(first))
	fmt.Println("ok consume\nok group")
	produce(ctx, bootstrap, topic, records/2, records)
	second := consume(ctx, bootstrap, topic, group, 1, records/2)
	for key := range second {
		expect(!first[key], "%s was read twice after the resume", key)
	}
	expect(len(first)+len(second) == records, "resumed to %d", len(first)+len(second))
	fmt.Println("ok resume")
	administer(ctx, client, topic, group)
	fmt.Println("ok admin")
}

func produce(ctx context.Context, bootstrap, topic string, from, to int) {
	writer := &kafka.Writer{Addr: kafka.TCP(bootstrap), Topic: topic, Balancer: &kafka.Hash{}, BatchTimeout: 5 * time.Millisecond,
		RequiredAcks: kafka.RequireAll, Compression: kafka.Lz4}
	var messages []kafka.Message
	for i := from; i < to; i++ {
		messages = append(messages, kafka.Message{Key: fmt.Appendf(nil, "key-%d", i), Value: fmt.Appendf(nil, "value-%d", i)})
	}
	expect(writer.WriteMessages(ctx, messages...) == nil, "write")
	expect(writer.Close() == nil, "close")
}

func consume(ctx context.Context, bootstrap, topic, group string, members, wanted int) map[string]bool {
	seen, lock, all := map[string]bool{}, sync.Mutex{}, sync.WaitGroup{}
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	done, stop := context.WithCancel(ctx)
	defer stop()
	for range members {
		all.Add(1)
		go func() {
			defer all.Done()
			reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{bootstrap}, GroupID: group, Topic: topic,
				StartOffset: kafka.FirstOffset, MaxWait: 200 * time.Millisecond})
			defer reader.Close()
			for {
				message, err := reader.FetchMessage(done)
				if done.Err() != nil {
					return
				}
				expect(err == nil, "fetch: %v", err)
				key := string(message.Key)
				expect(string(message.Value) == "value-"+key[4:], "wrong value for %s", key)
				expect(reader.CommitMessages(ctx, message) == nil, "commit")
				lock.Lock()
				seen[key] = true
				if len(seen) >= wanted {
					stop()
				}
				lock.Unlock()
			}
		}()
	}
	all.Wait()
	expect(ctx.Err() == nil, "only %d of %d records came in time", len(seen), wanted)
	return seen
}

func administer(ctx context.Context, client *kafka.Client, topic, group string) {
	grown, err := client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 6}}})
	expect(err == nil && grown.Errors[topic] == nil, "partitions: %v %+v", err, grown)
	changed, err := client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "retention.ms", Value: "3600000"}}}}})
	expect(err == nil && changed.Resources[0].Error == nil, "configs: %v %+v", err, changed)
	groups, err := client.ListGroups(ctx, &kafka.ListGroupsRequest{})
	expect(err == nil && groups.Error == nil, "groups: %v", err)
	found := false
	for _, listed := range groups.Groups {
		found = found || listed.GroupID == group
	}
	expect(found, "the group is not listed: %+v", groups)
	deleted, err := client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
	expect(err == nil && deleted.Errors[group] == nil, "delete group: %v %+v", err, deleted)
	gone, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	expect(err == nil && gone.Errors[topic] == nil, "delete topic: %v %+v", err, gone)
}

func expect(condition bool, otherwise string, arguments ...any) {
	if !condition {
		fmt.Fprintf(os.Stderr, otherwise+"\n", arguments...)
		os.Exit(1)
	}
}
