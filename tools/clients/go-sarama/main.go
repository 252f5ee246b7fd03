// sarama: produces idempotently, consumes in a group of two, commits, and resumes; then administers.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

const records = 4000

func main() {
	brokers, topic := []string{os.Args[1]}, fmt.Sprintf("sarama-%d", time.Now().UnixNano())
	group := topic + "-group"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/IBM/sarama" {
				fmt.Println("version", module.Version)
			}
		}
	}
	admin, err := sarama.NewClusterAdmin(brokers, settings())
	expect(err == nil, "admin: %v", err)
	defer admin.Close()
	err = admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 4, ReplicationFactor: 1}, false)
	expect(err == nil, "create: %v", err)
	produce(brokers, topic, 0, records/2)
	fmt.Println("ok produce")
	first := consume(brokers, topic, group, 2, records/2)
	expect(len(first) == records/2, "the group of two read %d", len(first))
	fmt.Println("ok consume\nok group")
	produce(brokers, topic, records/2, records)
	second := consume(brokers, topic, group, 1, records/2)
	for key := range second {
		expect(!first[key], "%s was read twice after the resume", key)
	}
	expect(len(first)+len(second) == records, "resumed to %d", len(first)+len(second))
	fmt.Println("ok resume")
	administer(admin, topic, group)
	fmt.Println("ok admin")
}

func settings() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Compression = sarama.CompressionSnappy
	config.Producer.Flush.Frequency = 5 * time.Millisecond
	config.Net.MaxOpenRequests = 1
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	return config
}

func produce(brokers []string, topic string, from, to int) {
	producer, err := sarama.NewAsyncProducer(brokers, settings())
	expect(err == nil, "producer: %v", err)
	go func() {
		for i := from; i < to; i++ {
			producer.Input() <- &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(fmt.Sprintf("key-%d", i)),
				Value: sarama.StringEncoder(fmt.Sprintf("value-%d", i))}
		}
	}()
	for range to - from {
		select {
		case <-producer.Successes():
		case err := <-producer.Errors():
			expect(false, "produce: %v", err)
		case <-time.After(30 * time.Second):
			expect(false, "no answer to a produce")
		}
	}
	expect(producer.Close() == nil, "close")
}

// Reads what it is given, and commits it.
type member struct {
	lock   *sync.Mutex
	seen   map[string]bool
	wanted int
	stop   context.CancelFunc
}

func (member) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			key := string(message.Key)
			expect(string(message.Value) == "value-"+key[4:], "wrong value for %s", key)
			m.lock.Lock()
			m.seen[key] = true
			enough := len(m.seen) >= m.wanted
			m.lock.Unlock()
			session.MarkMessage(message, "")
			if enough {
				m.stop()
			}
		case <-session.Context().Done():
			session.Commit()
			return nil
		}
	}
}

func consume(brokers []string, topic, group string, members, wanted int) map[string]bool {
	seen, lock, all := map[string]bool{}, sync.Mutex{}, sync.WaitGroup{}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	done, stop := context.WithCancel(ctx)
	defer stop()
	for range members {
		all.Add(1)
		go func() {
			defer all.Done()
			consumers, err := sarama.NewConsumerGroup(brokers, group, settings())
			expect(err == nil, "group: %v", err)
			defer consumers.Close()
			for done.Err() == nil {
				err := consumers.Consume(done, []string{topic}, member{&lock, seen, wanted, stop})
				expect(err == nil || done.Err() != nil, "consume: %v", err)
			}
		}()
	}
	all.Wait()
	expect(ctx.Err() == nil, "only %d of %d records came in time", len(seen), wanted)
	return seen
}

func administer(admin sarama.ClusterAdmin, topic, group string) {
	expect(admin.CreatePartitions(topic, 6, nil, false) == nil, "create partitions")
	hour := "3600000"
	err := admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
		"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &hour}}, false)
	expect(err == nil, "configs: %v", err)
	expect(admin.DeleteRecords(topic, map[int32]int64{0: 5}) == nil, "delete records")
	groups, err := admin.ListConsumerGroups()
	expect(err == nil && groups[group] == "consumer", "groups: %v %v", err, groups)
	described, err := admin.DescribeConsumerGroups([]string{group})
	expect(err == nil && described[0].State == "Empty", "describe: %v %+v", err, described)
	expect(admin.DeleteConsumerGroup(group) == nil, "delete group")
	expect(admin.DeleteTopic(topic) == nil, "delete topic")
}

func expect(condition bool, otherwise string, arguments ...any) {
	if !condition {
		fmt.Fprintf(os.Stderr, otherwise+"\n", arguments...)
		os.Exit(1)
	}
}
