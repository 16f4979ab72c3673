// Publishes lines of standard input, [routing key, body] each, as a shop written in Node.js would.
// Ends with 0 when the broker has confirmed them all.
const amqp = require("amqplib");
const readline = require("readline");

async function main(url, exchange) {
  const connection = await amqp.connect(url);
  const channel = await connection.createConfirmChannel();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [routingKey, body] = JSON.parse(line);
    channel.publish(exchange, routingKey, Buffer.from(body), { persistent: true, mandatory: true });
  }
  await channel.waitForConfirms();
  await connection.close();
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
