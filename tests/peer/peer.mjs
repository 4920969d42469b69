// A version 3 peer without any extension, from the wire document and npm's bson alone.
//
//   node peer.mjs GROUP PORT MAX_PAYLOAD
//
// Takes commands on standard input, a line of canonical extended JSON each:
//   {"emit": NAME, "args": [..]}  sends an event; {"quit": true}  ends.
// Prints a line for {"ready": PORT}, for what it sent, {"sent": DATAGRAMS}, and for each event
// that it hears, {"event": NAME, "args": [..], "meta": {..}}.

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

const send = (bytes) => new Promise((resolve, reject) =>
  socket.send(bytes, port, group, (error) => (error ? reject(error) : resolve())));

async function emit(name, args) {
  const newId = () => randomBytes(20).toString('hex');
  const inner = datagram(metadata(name, 0, 1, newId()), BSON.serialize({ payload: args }));
  if (inner.length <= maxPayload) { await send(inner); return 1; }
  const [count, id] = [Math.ceil(inner.length / maxPayload), newId()];
  for (let seq = 0; seq < count; seq += 1) {
    const slice = inner.subarray(seq * maxPayload, (seq + 1) * maxPayload);
    await send(datagram(metadata(name, seq, count, id), slice));
    // No faster than a receiver with small buffers can take it, since nothing is repaired here.
    if (seq % 8 === 7) await pause(2);
  }
  return count;
}

const messages = new Map();
function receive(bytes) {
  const end = 2 + bytes.readUInt16BE(0);
  const meta = BSON.deserialize(bytes.subarray(2, end));
  const rest = bytes.subarray(end);
  if (meta.v !== 3 || meta.id === own || meta.name.startsWith('__ec_')) return;
  if (meta.seqLen > 1) {
    const slices = messages.get(meta.seqId) ?? new Map();
    messages.set(meta.seqId, slices.set(meta.seq, Buffer.from(rest)));
    if (slices.size < meta.seqLen) return;
    messages.delete(meta.seqId);
    receive(Buffer.concat(Array.from({ length: meta.seqLen }, (_, seq) => slices.get(seq))));
    return;
  }
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
  print({ sent: await emit(command.emit, command.args) });
}
socket.close();
