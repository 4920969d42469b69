//! The bytes that the classic cipher brings into metadata (WIRE.md section 5): a nonce where
//! nothing is encrypted, and metadata of six keys around what is.

use super::{
    seq_id::{MessageId, SeqIdText},
    template::{AT_DOCUMENT, AT_SEQ_END, AT_SEQ_ID, AT_SEQ_LEN, PREFIX},
};

/// Where `nonce` stands: behind `enc`, which the type and key of `name` follow in [`PREFIX`].
const AT_NONCE: usize = PREFIX.len() - 6;

/// The type, key and length of `nonce`, and behind it 40 digits and a zero.
const NONCE_KEY: &[u8; 11] = b"\x02nonce\0\x29\0\0\0";

/// How many bytes a nonce adds.
pub(in crate::proto) const NONCE_LEN: usize = NONCE_KEY.len() + 40 + 1;

/// The length of the metadata around ciphertext, with its own length.
pub(in crate::proto) const CLASSIC_HEAD: usize = AT_NONCE + 1;

const AT_ENC: usize = AT_NONCE - 1;

/// Puts a nonce into metadata that begins at `start` and has none.
pub(in crate::proto) fn put_nonce(out: &mut Vec<u8>, start: usize, nonce: &SeqIdText) {
    let element = NONCE_KEY.iter().chain(nonce).chain(&[0]);
    out.splice(start + AT_NONCE..start + AT_NONCE, element.copied());
    let head = &mut out[start..];
    let document = u16::from_be_bytes([head[0], head[1]]) + NONCE_LEN as u16;
    head[..AT_DOCUMENT].copy_from_slice(&document.to_be_bytes());
    head[AT_DOCUMENT..][..4].copy_from_slice(&u32::from(document).to_le_bytes());
}

/// Appends the metadata of a message whose payload is ciphertext.
pub(in crate::proto) fn write_classic_head(seq_id: &SeqIdText, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&PREFIX[..AT_NONCE]);
    out.push(0);
    let document = (CLASSIC_HEAD - AT_DOCUMENT) as u8;
    let head = &mut out[start..];
    (head[1], head[AT_DOCUMENT]) = (document, document);
    head[AT_SEQ_ID..][..40].copy_from_slice(seq_id);
    // One chunk, the last, and encrypted.
    head[AT_SEQ_LEN] = 1;
    head[AT_SEQ_END] = 1;
    head[AT_ENC] = 1;
}

/// Makes the nonce of written metadata another one for each chunk, and the same one each time that
/// a chunk is sent.
pub(in crate::proto) fn turn_nonce(head: &mut [u8], seq: u32) {
    let digits = &mut head[AT_NONCE + NONCE_KEY.len()..][..40];
    if let Ok(text) = digits.try_into()
        && let Some(MessageId(mut nonce)) = MessageId::from_digits(&text)
    {
        for (byte, other) in nonce.iter_mut().zip(seq.to_be_bytes()) {
            *byte ^= other;
        }
        digits.copy_from_slice(&MessageId(nonce).text());
    }
}
