// Hashes, ciphers, keys, signatures, key exchange, random values, Web Crypto.
import crypto from 'node:crypto';

for (const name of ['md5', 'sha1', 'sha256', 'sha512', 'sha3-256', 'blake2b512']) {
  console.log(name, crypto.createHash(name).update('abc').digest('hex').slice(0, 32));
}
console.log(crypto.createHmac('sha256', 'key').update('data').digest('base64'));
const key = Buffer.alloc(32, 1), iv = Buffer.alloc(12, 2);
const cipher = crypto.createCipheriv('aes-256-gcm', key, iv);
const sealed = Buffer.concat([cipher.update('secret'), cipher.final()]);
const decipher = crypto.createDecipheriv('aes-256-gcm', key, iv).setAuthTag(cipher.getAuthTag());
console.log(sealed.toString('hex'), decipher.update(sealed, null, 'utf8') + decipher.final('utf8'));
console.log(crypto.pbkdf2Sync('p', 's', 1000, 16, 'sha256').toString('hex'), crypto.scryptSync('p', 's', 16).toString('hex'));
console.log(Buffer.from(crypto.hkdfSync('sha256', 'k', 's', 'i', 16)).toString('hex'));
for (const [type, options] of [['rsa', { modulusLength: 2048 }], ['ec', { namedCurve: 'P-256' }], ['ed25519', {}]]) {
  const { publicKey, privateKey } = crypto.generateKeyPairSync(type, options);
  const hash = type === 'ed25519' ? null : 'sha256';
  console.log(type, crypto.verify(hash, Buffer.from('m'), publicKey, crypto.sign(hash, Buffer.from('m'), privateKey)));
}
const [a, b] = [crypto.createECDH('secp256k1'), crypto.createECDH('secp256k1')];
a.generateKeys(); b.generateKeys();
console.log(a.computeSecret(b.getPublicKey()).equals(b.computeSecret(a.getPublicKey())));
console.log(crypto.randomBytes(16).length, crypto.randomUUID().length, crypto.randomInt(5) < 5);
console.log(await new Promise((resolve) => crypto.randomFill(Buffer.alloc(8), (_, filled) => resolve(filled.length))));
console.log(crypto.timingSafeEqual(Buffer.from('a'), Buffer.from('a')), crypto.getHashes().length, crypto.getCiphers().length);
const subtle = crypto.webcrypto.subtle;
const aes = await subtle.generateKey({ name: 'AES-GCM', length: 128 }, true, ['encrypt', 'decrypt']);
const text = await subtle.encrypt({ name: 'AES-GCM', iv }, aes, new TextEncoder().encode('web'));
console.log(new TextDecoder().decode(await subtle.decrypt({ name: 'AES-GCM', iv }, aes, text)));
console.log(Buffer.from(await subtle.digest('SHA-256', Buffer.from('abc'))).toString('hex'));
