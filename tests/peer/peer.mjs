// A version 3 peer without any extension, from the wire document and npm's bson alone.
//
//   node peer.mjs GROUP PORT MAX_PAYLOAD
//
// Takes commands on standard input, a line of canonical extended JSON each:
//   {"emit": NAME, "args": [..]}  sends an event; {"quit": true}  ends;
//   {"lose": {"in": [..], "out": [..]}}  from now on passes over chunks of these indexes when they first come,
//   and leaves these out when it first sends.
// Prints a line for {"ready": PORT}, for what it sent, {"sent": DATAGRAMS}, that it will {"lose": true}, and for each
// event that it hears, {"event": NAME, "args": [..], "meta": {..}}. It asks for chunks that do not come, and answers
// who asks for its own.

import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { createRequire } from 'node:module';

// The packages lie where the test installed them, not beside this file.
const { BSON } = createRequire(`${process.cwd()}/`)('bson');
const { EJSON } = BSON;

const INTERFACE = '127.0.0.1';
const [group, port, maxPayload] = [process.argv[2], +process.argv[3], +process.argv[4]];
const own = randomBytes(8).toString('hex');
const socket = dgram.createSocket({ type: 'udp4', reuseAddr: true, recvBufferSize: 8 << 20 });
const print = (value) => process.stdout.write(EJSON.stringify(value, { relaxed: false }) + '\n');

const datagram = (meta, payload) => {
  const head = BSON.serialize(meta);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(head.length);
  return Buffer.concat([length, head, payload]);
};

const metadata = (name, seq, seqLen, seqId) => ({
  v: 3, seq, seqLen, seqId, seqEnd: seq === seqLen - 1, enc: false, name,
  host: INTERFACE, port, hostname: 'node', id: own, time: new Date().toISOString(),
});

const send = (bytes, toPort = port, toHost = group) => new Promise((resolve, reject) =>
  socket.send(bytes, toPort, toHost, (error) => (error ? reject(error) : resolve())));
const newId = () => randomBytes(20).toString('hex');

let lose = { in: [], out: [] };
// The chunks of what was sent, by their seqId.
const sent = new Map();

async function emit(name, args) {
  const inner = datagram(metadata(name, 0, 1, newId()), BSON.serialize({ payload: args }));
  if (inner.length <= maxPayload) { await send(inner); return 1; }
  const [count, id] = [Math.ceil(inner.length / maxPayload), newId()];
  const chunks = Array.from({ length: count }, (_, seq) => {
    const slice = inner.subarray(seq * maxPayload, (seq + 1) * maxPayload);
    return datagram(metadata(name, seq, count, id), slice);
  });
  sent.set(id, chunks);
  for (const [seq, chunk] of chunks.entries()) {
    if (!lose.out.includes(seq)) await send(chunk);
    // No faster than a receiver with small buffers can take it.
    if (seq % 8 === 7) await pause(2);
  }
  return count;
}

async function answer({ id, seqId, missedSeq, host, port: toPort }) {
  if (typeof id !== 'string' || !sent.has(seqId)) return;
  for (const seq of missedSeq) {
    const chunk = sent.get(seqId)[seq];
    if (chunk) await send(chunk, toPort, host);
  }
}

// What is not whole yet, by its seqId, and what is over.
const messages = new Map();
const over = new Set();

// Nothing of a message has come for this long: what is missing is asked for, three times without any answer.
const PATIENCE = 500;
const ATTEMPTS = 3;

function ask(seqId, message) {
  if (message.attempts === ATTEMPTS) return;
  message.attempts += 1;
  const missedSeq = Array.from({ length: message.seqLen }, (_, seq) => seq)
    .filter((seq) => !message.slices.has(seq)).slice(0, 64);
  const request = { payload: { id: own, seqId, missedSeq, host: INTERFACE, port } };
  const meta = metadata('__ec_retx', 0, 1, newId());
  send(datagram(meta, BSON.serialize(request)), message.from.port, message.from.address);
  message.timer = setTimeout(() => ask(seqId, message), PATIENCE);
}

function takeChunk({ seqId, seq, seqLen }, slice, from) {
  if (over.has(seqId)) return;
  const message = messages.get(seqId)
    ?? { slices: new Map(), seqLen, from, attempts: 0, lose: new Set(lose.in) };
  messages.set(seqId, message);
  if (message.lose.delete(seq)) return;
  clearTimeout(message.timer);
  message.attempts = 0;
  message.slices.set(seq, Buffer.from(slice));
  if (message.slices.size < seqLen) {
    message.timer = setTimeout(() => ask(seqId, message), PATIENCE);
    return;
  }
  messages.delete(seqId);
  over.add(seqId);
  receive(Buffer.concat(Array.from({ length: seqLen }, (_, at) => message.slices.get(at))), from);
}

function receive(bytes, from) {
  const end = 2 + bytes.readUInt16BE(0);
  const meta = BSON.deserialize(bytes.subarray(2, end));
  const rest = bytes.subarray(end);
  if (meta.v !== 3 || meta.id === own) return;
  if (meta.name === '__ec_retx') { answer(BSON.deserialize(rest).payload); return; }
  if (meta.name.startsWith('__ec_')) return;
  if (meta.seqLen > 1) { takeChunk(meta, rest, from); return; }
  const { payload } = BSON.deserialize(rest, { promoteValues: false, bsonRegExp: true });
  print({ event: meta.name, args: payload, meta });
}

socket.on('message', receive);
socket.bind(port, () => {
  socket.setMulticastInterface(INTERFACE);
  socket.addMembership(group, INTERFACE);
  print({ ready: port });
});

for await (const line of createInterface({ input: process.stdin })) {
  const command = EJSON.parse(line, { relaxed: false });
  if (command.quit) break;
  if (command.lose) {
    lose = EJSON.parse(line).lose;
    print({ lose: true });
    continue;
  }
  print({ sent: await emit(command.emit, command.args) });
}
socket.close();
