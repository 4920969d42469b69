// A version 3 peer, from the wire document and npm's bson alone: without any extension, or with sealed datagrams as the
// only one, or with the classic cipher.
//
//   node peer.mjs GROUP PORT MAX_PAYLOAD [GUARD]
//
// GUARD is JSON: {"passphrase": TEXT} or {"readyKey": HEX} for sealed datagrams, perhaps with a {"salt": HEX} and with
// more keys to take what is sealed with them, {"receive": [..]}; {"classic": PASSPHRASE}.
//
// Takes commands on standard input, a line of canonical extended JSON each:
//   {"emit": NAME, "args": [..]}  sends an event; {"quit": true}  ends;
//   the same with "how": {"to": {"id", "port"}, "counter": NUMBER, "shift": MILLISECONDS}, each of which may be left
//   out, for a sealed event to one peer, with a counter of the test's choice, with another send time;
//   {"keys": GUARD}  replaces the keys for sealed datagrams;
//   {"again": true}  sends the same bytes once more that it sent last;
//   {"refused": true}  asks what it did not take;
//   {"lose": {"in": [..], "out": [..]}}  from now on passes over chunks of these indexes when they first come,
//   and leaves these out when it first sends.
// Prints a line for {"ready": PORT}, for what it sent, {"sent": DATAGRAMS}, that it will {"lose": true}, what it did
// not take, {"refused": {CAUSE: NUMBER, ..}}, that it has new {"keys": true}, and for each event that it hears, {"event": NAME, "args": [..],
// "meta": {..}}. It asks for chunks that do not come, and answers who asks for its own.

import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { createRequire } from 'node:module';

import { Classic } from './classic.mjs';
import { Refused, Seal, boxLength, checkInner } from './sealed.mjs';

// The packages lie where the test installed them, not beside this file.
const { BSON } = createRequire(`${process.cwd()}/`)('bson');
const { EJSON } = BSON;

const INTERFACE = '127.0.0.1';
const [group, port, maxPayload] = [process.argv[2], +process.argv[3], +process.argv[4]];
const guard = JSON.parse(process.argv[5] ?? '{}');
const own = randomBytes(8).toString('hex');
const cipher = 'classic' in guard ? new Classic(guard.classic) : null;
const seal = !cipher && Object.keys(guard).length ? new Seal(guard, group, port, own) : null;
const socket = dgram.createSocket({ type: 'udp4', reuseAddr: true, recvBufferSize: 8 << 20 });
const print = (value) => process.stdout.write(EJSON.stringify(value, { relaxed: false }) + '\n');

const newId = () => randomBytes(20).toString('hex');

const datagram = (meta, payload) => {
  const head = BSON.serialize(meta);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(head.length);
  return Buffer.concat([length, head, payload]);
};

const part = (bytes) => {
  const end = 2 + bytes.readUInt16BE(0);
  return { meta: BSON.deserialize(bytes.subarray(2, end)), rest: bytes.subarray(end) };
};

const metadata = (name, seq, seqLen, seqId) => ({
  v: 3, seq, seqLen, seqId, seqEnd: seq === seqLen - 1, enc: false, ...(cipher && { nonce: newId() }), name,
  host: INTERFACE, port, hostname: 'node', id: own, time: new Date().toISOString(),
});

// The message that carries a box says nothing else.
const around = (box) => {
  const meta = { ...metadata('__ec_sealed', 0, 1, newId()), host: '', port: 0, hostname: '', id: '', time: '' };
  return datagram(meta, BSON.serialize({ payload: [new BSON.Binary(box)] }));
};

// What went out last, and where to.
let last = null;

const put = (bytes, toPort, toHost) => new Promise((resolve, reject) => {
  last = [bytes, toPort, toHost];
  socket.send(bytes, toPort, toHost, (error) => (error ? reject(error) : resolve()));
});

// Sends a datagram to the group, or to one peer: { id, port, address }.
const send = (bytes, { to, ...how } = {}) => {
  const guarded = seal ? around(seal.seal(bytes, { recipient: to?.id, ...how })) : bytes;
  return put(guarded, to?.port ?? port, to ? to.address ?? INTERFACE : group);
};

// What a datagram may have, so that it fits into a frame.
const LONGEST = 1_472;

function sliceSize(name) {
  if (!seal || maxPayload > LONGEST) return maxPayload;
  const head = datagram(metadata(name, 0, 2, newId()), Buffer.alloc(0)).length;
  const outside = around(Buffer.alloc(0)).length;
  let size = maxPayload;
  while (outside + boxLength(head + size) > LONGEST) size -= 1;
  return size;
}

let lose = { in: [], out: [] };
// The chunks of what was sent, by their seqId.
const sent = new Map();

async function emit(name, args, how) {
  let message = datagram(metadata(name, 0, 1, newId()), BSON.serialize({ payload: args }));
  if (cipher) {
    const outer = { v: 3, seq: 0, seqLen: 1, seqId: newId(), seqEnd: true, enc: true };
    message = datagram(outer, cipher.encrypt(message));
  }
  if (message.length <= maxPayload) { await send(message, how); return 1; }
  const size = sliceSize(name);
  const [count, id] = [Math.ceil(message.length / size), newId()];
  const chunks = Array.from({ length: count }, (_, seq) => {
    const slice = message.subarray(seq * size, (seq + 1) * size);
    return datagram(metadata(name, seq, count, id), slice);
  });
  sent.set(id, chunks);
  for (const [seq, chunk] of chunks.entries()) {
    if (!lose.out.includes(seq)) await send(chunk, how);
    // No faster than a receiver with small buffers can take it.
    if (seq % 8 === 7) await pause(2);
  }
  return count;
}

async function answer({ id, seqId, missedSeq, host, port: toPort }, from) {
  if (typeof id !== 'string' || !sent.has(seqId)) return;
  // Where the request came from; a peer without extensions takes its word for it.
  const address = seal ? { port: from.port, address: from.address } : { port: toPort, address: host };
  for (const seq of missedSeq) {
    const chunk = sent.get(seqId)[seq];
    if (chunk) await send(chunk, { to: { id, ...address } });
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
  const to = { id: message.id, port: message.from.port, address: message.from.address };
  send(datagram(meta, BSON.serialize(request)), { to });
  message.timer = setTimeout(() => ask(seqId, message), PATIENCE);
}

function takeChunk({ id, seqId, seq, seqLen }, slice, from) {
  if (over.has(seqId)) return;
  const message = messages.get(seqId)
    ?? { slices: new Map(), seqLen, id, from, attempts: 0, lose: new Set(lose.in) };
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
  take(part(Buffer.concat(Array.from({ length: seqLen }, (_, at) => message.slices.get(at)))), from);
}

// What is in a sealed message.
function unsealed({ meta, rest }) {
  if (meta.name !== '__ec_sealed' || meta.v !== 3) throw new Refused('clear');
  const { payload } = BSON.deserialize(rest);
  const alone = meta.seqLen === 1 && Array.isArray(payload) && payload.length === 1;
  if (!alone || payload[0]?._bsontype !== 'Binary' || payload[0].sub_type !== 0) throw new Refused('malformed');
  const opened = seal.open(Buffer.from(payload[0].value()));
  const inner = part(opened.datagram);
  checkInner(opened, inner.meta);
  return inner;
}

function take({ meta, rest }, from, decrypted = false) {
  if (meta.v !== 3 || meta.id === own) return;
  if (meta.enc) {
    if (!cipher || decrypted) throw new Refused('classic');
    take(part(cipher.decrypt(rest)), from, true);
    return;
  }
  if (meta.name === '__ec_retx') { answer(BSON.deserialize(rest).payload, from); return; }
  if (meta.name.startsWith('__ec_')) return;
  if (meta.seqLen > 1) { takeChunk(meta, rest, from); return; }
  if (cipher && !decrypted) throw new Refused('clear');
  const { payload } = BSON.deserialize(rest, { promoteValues: false, bsonRegExp: true });
  print({ event: meta.name, args: payload, meta });
}

// How often something was not taken, by cause.
const refused = {};

function receive(bytes, from) {
  try {
    const message = part(bytes);
    take(seal ? unsealed(message) : message, from);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    refused[error.cause] = (refused[error.cause] ?? 0) + 1;
  }
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
  if (command.keys) {
    seal.setKeys(command.keys);
    print({ keys: true });
    continue;
  }
  if (command.refused) { print({ refused }); continue; }
  if (command.again) {
    await put(...last);
    print({ sent: 1 });
    continue;
  }
  print({ sent: await emit(command.emit, command.args, EJSON.parse(line).how) });
}
socket.close();
