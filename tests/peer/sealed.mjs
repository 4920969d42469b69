// Sealed datagrams, from the wire document (section 8) and Node's own cryptography alone.
//
// This makes boxes and opens them. The message around a box and the datagram inside are the peer's, see `peer.mjs`. It
// sets no bound on what it remembers: it lives as long as a test.

import {
  createCipheriv, createDecipheriv, createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual,
} from 'node:crypto';

const SUITE = 1;
const ROUNDS = 600_000;

// Where the parts of a box begin, and how long they are.
const KEY_ID = 1;
const SENDER = 5;
const INCARNATION = 13;
const COUNTER = 21;
const IV = 29;
const CIPHERTEXT = 45;
const MAC_LENGTH = 32;
const BLOCK = 16;
const SHORTEST = 109;
// Send time and recipient, before the datagram.
const PREFIX = 16;

const TO_ONE = 1n << 63n;
const NOBODY = Buffer.alloc(8);
const WINDOW = 4_096n;

// In milliseconds.
const TOLERANCE = 30_000;
const YOUNG = 60_000;
const BEFORE_START = 1_000;

// Why something was not taken, in one word.
export class Refused extends Error {
  constructor(cause) {
    super(`refused: ${cause}`);
    this.cause = cause;
  }
}

const hmac = (key, ...parts) => parts.reduce((mac, part) => mac.update(part), createHmac('sha256', key)).digest();

// The 8 bytes that stand for an id.
const bytesOf = (id) => (/^[0-9a-f]{16}$/.test(id)
  ? Buffer.from(id, 'hex') : createHash('sha256').update(id, 'utf8').digest().subarray(0, 8));

const uint64 = (value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
};

// How long the box of a datagram of this length is.
export const boxLength = (length) => {
  const padded = (Math.floor((PREFIX + length) / BLOCK) + 1) * BLOCK;
  return CIPHERTEXT + padded + MAC_LENGTH;
};

// The counters of one kind that one incarnation has used. The first one counts all below it as had.
class Window {
  constructor(first) {
    this.first = first;
    this.highest = first - 1n;
    this.had = new Set();
  }

  take(counter) {
    if (counter + WINDOW <= this.highest) throw new Refused('old');
    if (counter < this.first || this.had.has(counter)) throw new Refused('duplicate');
    this.had.add(counter);
    if (counter > this.highest) this.highest = counter;
  }
}

class Key {
  // `secret` is { passphrase: TEXT } or { readyKey: HEX }.
  constructor(secret, salt, label) {
    const root = 'passphrase' in secret
      ? pbkdf2Sync(Buffer.from(secret.passphrase, 'utf8'), salt, ROUNDS, 32, 'sha256')
      : hmac(salt, Buffer.from(secret.readyKey, 'hex'));
    this.label = label;
    this.aesKey = hmac(root, 'eventcast/1 aes').subarray(0, 16);
    this.macKey = hmac(root, 'eventcast/1 mac');
    this.id = hmac(root, 'eventcast/1 id').subarray(0, 4);
  }

  mac(box) {
    return hmac(this.macKey, `${this.label}|`, box);
  }
}

export class Seal {
  // `keys` as for `setKeys`; `id` is the peer's own.
  constructor(keys, group, port, id) {
    this.label = `eventcast/sealed/1|${group}:${port}`;
    this.setKeys(keys);
    this.own = bytesOf(id);
    this.started = Date.now();
    this.incarnation = BigInt(this.started);
    this.counters = { group: 0n, one: 0n };
    this.windows = new Map();
  }

  // `send` is { passphrase: TEXT } or { readyKey: HEX }, `receive` more of these; the salt is hexadecimal, and the
  // group's own where none is given.
  setKeys({ salt, receive = [], ...send }) {
    const bytes = salt === undefined ? this.label : Buffer.from(salt, 'hex');
    this.keys = [send, ...receive].map((secret) => new Key(secret, bytes, this.label));
  }

  // The box of a datagram for the group, or for the peer with the id `recipient`. `counter` takes the place of the next
  // one, without its highest bit; `shift` is how many milliseconds later than now it says that it was sent.
  seal(datagram, { recipient, counter, shift = 0 } = {}) {
    const kind = recipient === undefined ? 'group' : 'one';
    const used = counter === undefined ? this.counters[kind] + 1n : BigInt(counter);
    if (used > this.counters[kind]) this.counters[kind] = used;
    const iv = randomBytes(16);
    const [key] = this.keys;
    const cipher = createCipheriv('aes-128-cbc', key.aesKey, iv);
    const box = Buffer.concat([
      Buffer.of(SUITE), key.id, this.own, uint64(this.incarnation),
      uint64(kind === 'one' ? used | TO_ONE : used), iv,
      cipher.update(uint64(Date.now() + shift)),
      cipher.update(kind === 'one' ? bytesOf(recipient) : NOBODY),
      cipher.update(datagram), cipher.final(),
    ]);
    return Buffer.concat([box, key.mac(box)]);
  }

  // What is in a box, with all that can be checked before the datagram is read, in the order of the wire document.
  open(box) {
    if (box.length < SHORTEST || box.length % BLOCK !== 13) throw new Refused('malformed');
    if (box[0] !== SUITE) throw new Refused('suite');
    const named = this.keys.filter(({ id }) => box.subarray(KEY_ID, SENDER).equals(id));
    if (named.length === 0) throw new Refused('key');
    const [covered, mac] = [box.subarray(0, -MAC_LENGTH), box.subarray(-MAC_LENGTH)];
    const key = named.find((one) => timingSafeEqual(one.mac(covered), mac));
    if (!key) throw new Refused('mac');
    const plain = this.decrypt(covered, key);
    this.checkTime(Number(plain.readBigUInt64BE(0)));
    const recipient = plain.subarray(8, PREFIX);
    const toGroup = recipient.equals(NOBODY);
    if (!toGroup && !recipient.equals(this.own)) throw new Refused('recipient');
    this.checkCounter(covered, toGroup);
    return {
      sender: covered.subarray(SENDER, INCARNATION),
      incarnation: covered.readBigUInt64BE(INCARNATION),
      datagram: plain.subarray(PREFIX),
    };
  }

  decrypt(covered, key) {
    const decipher = createDecipheriv('aes-128-cbc', key.aesKey, covered.subarray(IV, CIPHERTEXT));
    let plain;
    try {
      plain = Buffer.concat([decipher.update(covered.subarray(CIPHERTEXT)), decipher.final()]);
    } catch {
      throw new Refused('malformed');
    }
    if (plain.length < PREFIX) throw new Refused('malformed');
    return plain;
  }

  checkTime(sent) {
    const now = Date.now();
    if (Math.abs(now - sent) > TOLERANCE) throw new Refused('time');
    if (now - this.started < YOUNG && sent < this.started - BEFORE_START) throw new Refused('time');
  }

  checkCounter(covered, toGroup) {
    const whole = covered.readBigUInt64BE(COUNTER);
    const counter = whole & ~TO_ONE;
    if (counter === 0n || toGroup !== (whole === counter)) throw new Refused('malformed');
    const stream = covered.toString('hex', SENDER, COUNTER) + toGroup;
    if (!this.windows.has(stream)) this.windows.set(stream, new Window(counter));
    this.windows.get(stream).take(counter);
  }
}

// What can be checked only once the metadata of the datagram in the box has been read.
export function checkInner({ sender, incarnation }, meta) {
  if (meta.name === '__ec_sealed' || meta.enc) throw new Refused('malformed');
  if (!bytesOf(meta.id).equals(sender)) throw new Refused('sender');
  if (meta.inc !== undefined && BigInt(meta.inc.toString()) !== incarnation) throw new Refused('sender');
}
