// kafkajs: produces, consumes in a group of two, commits, and resumes; then administers.
const { Kafka, logLevel, CompressionTypes, ConfigResourceTypes } = require('kafkajs')
const { randomUUID } = require('crypto')

const RECORDS = 2000

async function produce(kafka, topic, from, to) {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  for (let i = from; i < to; i += 100) {
    const messages = Array.from({ length: Math.min(100, to - i) }, (_, n) => ({ key: `key-${i + n}`, value: `value-${i + n}` }))
    await producer.send({ topic, messages, compression: CompressionTypes.GZIP })
  }
  await producer.disconnect()
}

async function consume(kafka, topic, groupId, members, wanted) {
  const seen = []
  const consumers = []
  let finish
  const finished = new Promise((resolve, reject) => {
    finish = resolve
    setTimeout(() => reject(new Error(`only ${seen.length} of ${wanted} records came`)), 60000).unref()
  })
  for (let member = 0; member < members; member++) {
    const consumer = kafka.consumer({ groupId, sessionTimeout: 10000 })
    consumers.push(consumer)
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    await consumer.run({
      eachMessage: async ({ message }) => {
        const key = message.key.toString()
        if (message.value.toString() !== `value-${key.slice(4)}`) throw new Error(`wrong value for ${key}`)
        seen.push(key)
        if (seen.length >= wanted) finish()
      },
    })
  }
  await finished
  for (const consumer of consumers) await consumer.disconnect()
  return seen
}

async function administer(admin, topic) {
  const group = `${topic}-group`
  await admin.createPartitions({ topicPartitions: [{ topic, count: 6 }] })
  const described = await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ['retention.ms'] }] })
  if (described.resources[0].configEntries[0].configValue !== '604800000') throw new Error('no retention.ms')
  await admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name: 'retention.ms', value: '3600000' }] }] })
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '5' }] })
  const offsets = await admin.fetchTopicOffsets(topic)
  if (offsets.find(({ partition }) => partition === 0).low !== '5') throw new Error('the records below 5 are still there')
  const { groups } = await admin.listGroups()
  if (!groups.some(({ groupId }) => groupId === group)) throw new Error('the group is not listed')
  await admin.deleteGroups([group])
}

async function main() {
  console.log('version', require('kafkajs/package.json').version)
  const kafka = new Kafka({ brokers: [process.argv[2]], logLevel: logLevel.ERROR })
  const topic = `node-${randomUUID()}`
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions: 4 }] })
  await produce(kafka, topic, 0, RECORDS / 2)
  console.log('ok produce')
  const first = new Set(await consume(kafka, topic, `${topic}-group`, 2, RECORDS / 2))
  if (first.size !== RECORDS / 2) throw new Error(`the group of two read ${first.size}`)
  console.log('ok consume\nok group')
  await produce(kafka, topic, RECORDS / 2, RECORDS)
  const second = new Set(await consume(kafka, topic, `${topic}-group`, 1, RECORDS / 2))
  for (const key of second) if (first.has(key)) throw new Error(`${key} was read twice after the resume`)
  if (first.size + second.size !== RECORDS) throw new Error(`resumed to ${first.size + second.size}`)
  console.log('ok resume')
  await administer(admin, topic)
  await admin.deleteTopics({ topics: [topic] })
  await admin.disconnect()
  console.log('ok admin')
}

main().then(() => process.exit(0), error => { console.error(error); process.exit(1) })
