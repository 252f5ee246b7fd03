// node-rdkafka (librdkafka): produces idempotently, consumes in a group of two, commits, and resumes; then administers.
const rdkafka = require('node-rdkafka')
const { randomUUID } = require('crypto')

const RECORDS = 2000

const called = (object, method, ...args) =>
  new Promise((resolve, reject) => object[method](...args, (error, result) => (error ? reject(error) : resolve(result))))

async function produce(servers, topic, from, to) {
  const producer = new rdkafka.Producer({ 'bootstrap.servers': servers, 'enable.idempotence': true, 'compression.type': 'lz4', dr_cb: true })
  let delivered = 0
  producer.on('delivery-report', error => { if (error) throw error; delivered++ })
  await called(producer, 'connect', {})
  producer.setPollInterval(20)
  for (let i = from; i < to; i++) producer.produce(topic, null, Buffer.from(`value-${i}`), `key-${i}`)
  await called(producer, 'flush', 30000)
  while (delivered < to - from) await new Promise(resolve => setTimeout(resolve, 20))
  await called(producer, 'disconnect')
}

async function consume(servers, topic, group, members, wanted) {
  const seen = new Set()
  const consumers = []
  let finish
  const finished = new Promise((resolve, reject) => {
    finish = resolve
    setTimeout(() => reject(new Error(`only ${seen.size} of ${wanted} records came`)), 60000).unref()
  })
  for (let member = 0; member < members; member++) {
    const consumer = new rdkafka.KafkaConsumer(
      { 'bootstrap.servers': servers, 'group.id': group, 'enable.auto.commit': false }, { 'auto.offset.reset': 'earliest' })
    consumers.push(consumer)
    consumer.on('data', message => {
      const key = message.key.toString()
      if (message.value.toString() !== `value-${key.slice(4)}`) throw new Error(`wrong value for ${key}`)
      seen.add(key)
      consumer.commitMessage(message)
      if (seen.size >= wanted) finish()
    })
    await called(consumer, 'connect', {})
    consumer.subscribe([topic])
    consumer.consume()
  }
  await finished
  for (const consumer of consumers) await called(consumer, 'disconnect')
  return seen
}

async function main() {
  const servers = process.argv[2]
  console.log('version', require('node-rdkafka/package.json').version, `(librdkafka ${rdkafka.librdkafkaVersion})`)
  const topic = `node-rdkafka-${randomUUID()}`
  const group = `${topic}-group`
  const admin = rdkafka.AdminClient.create({ 'bootstrap.servers': servers })
  await called(admin, 'createTopic', { topic, num_partitions: 4, replication_factor: 1 })
  await produce(servers, topic, 0, RECORDS / 2)
  console.log('ok produce')
  const first = await consume(servers, topic, group, 2, RECORDS / 2)
  if (first.size !== RECORDS / 2) throw new Error(`the group of two read ${first.size}`)
  console.log('ok consume\nok group')
  await produce(servers, topic, RECORDS / 2, RECORDS)
  const second = await consume(servers, topic, group, 1, RECORDS / 2)
  for (const key of second) if (first.has(key)) throw new Error(`${key} was read twice after the resume`)
  console.log('ok resume')
  await called(admin, 'createPartitions', topic, 6)
  await called(admin, 'deleteTopic', topic)
  admin.disconnect()
  console.log('ok admin')
}

main().then(() => process.exit(0), error => { console.error(error); process.exit(1) })
