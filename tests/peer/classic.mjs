// The classic cipher, from the wire document (section 5) and Node's own cryptography alone.

import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';

const md5 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('md5')).digest();

export class Classic {
  // Key and IV as OpenSSL's EVP_BytesToKey makes them, with MD5, no salt and one round.
  constructor(passphrase) {
    this.key = md5(passphrase);
    this.iv = md5(this.key, passphrase);
  }

  encrypt(bytes) {
    const cipher = createCipheriv('aes-128-cbc', this.key, this.iv);
    return Buffer.concat([cipher.update(bytes), cipher.final()]);
  }

  decrypt(bytes) {
    const decipher = createDecipheriv('aes-128-cbc', this.key, this.iv);
    return Buffer.concat([decipher.update(bytes), decipher.final()]);
  }
}
