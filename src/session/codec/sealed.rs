//! The codec for the sealed framing: the dialect `verb`, one request a connection.

use super::framing_codec::{DecodeContext, Decoded, FramingCodec, Reply, ReplyPage, read_message};
use crate::buffer::Buffer;
use crate::crypto::{Exchanged, KeyExchange};
use crate::dialect;
use crate::framing::sealed::{Sealed, SealedEvent};
use crate::limits;
use crate::model::{Answer, Dialect, Failure, Refusal, Request};
use crate::session::ending::Ending;
use crate::sys;

impl FramingCodec for Sealed {
    fn decode(&mut self, input: &mut Buffer, output: &mut Buffer, context: &DecodeContext<'_>) -> Decoded {
        let Some(listener) = &context.rules.sealed else {
            return Decoded::End(Ending::Close, None);
        };
        match self.next(input, output, listener.rules()) {
            // The server has refused the client's keys.
            SealedEvent::NeedMore if self.has_ended() => Decoded::End(Ending::Linger, None),
            SealedEvent::NeedMore if context.has_ended => {
                self.end();
                Decoded::End(Ending::Close, None)
            }
            SealedEvent::NeedMore => Decoded::NeedInput,
            SealedEvent::Step => Decoded::HandledInline,
            SealedEvent::Exchange(client_key, block) => {
                let key_pair = listener.key_pair();
                Decoded::Exchange(KeyExchange { key_pair, client_key, block })
            }
            SealedEvent::Request(mut text) => {
                let decoded = match read_message(&text, None, context.rules) {
                    Decoded::Message(message) => Decoded::Message(self.finish_decoding(message)),
                    long => long,
                };
                sys::wipe(&mut text);
                decoded
            }
            SealedEvent::Answered | SealedEvent::Failed => Decoded::End(Ending::Linger, None),
            SealedEvent::Refused => Decoded::End(Ending::Close, None),
        }
    }

    /// Verbs only, and without an id, since there is one request.
    fn finish_decoding(&mut self, decoded: Result<Box<Request>, Refusal>) -> Result<Box<Request>, Refusal> {
        let refused = |failure| Err(Refusal { dialect: Dialect::Verb, id: None, failure });
        match decoded {
            Ok(mut request) if request.dialect == Dialect::Verb => {
                request.id = None;
                Ok(request)
            }
            Err(Refusal { dialect: Dialect::Verb, failure, .. }) => refused(failure),
            Err(Refusal { failure: failure @ (Failure::Busy | Failure::Internal), .. }) => refused(failure),
            _ => refused(Failure::MalformedRequest),
        }
    }

    fn exchanged(&mut self, exchanged: Exchanged, output: &mut Buffer) {
        self.exchanged(exchanged, output);
    }

    fn write_answer(&mut self, reply: &Reply<'_>, output: &mut Buffer) {
        let mut text = Vec::new();
        dialect::encode_answer(Dialect::Verb, None, reply.answer, &mut text);
        if text.len() > limits::SEALED_ANSWER_BYTES_MAX {
            text.clear();
            dialect::encode_answer(Dialect::Verb, None, &Answer::Failed(Failure::Internal), &mut text);
        }
        self.answer(text, output);
    }

    fn write_page(&mut self, _: &mut ReplyPage<'_>, _: &mut Buffer) {
        debug_assert!(false, "no verb is answered in pages");
    }

    fn incomplete_message(&self) -> Option<u32> {
        self.awaited()
    }

    fn held_bytes(&self) -> usize {
        self.held_bytes()
    }

    fn owes_answer(&self) -> bool {
        self.owes_answer()
    }

    fn is_ordered(&self) -> bool {
        true
    }

    fn dialect(&self) -> Dialect {
        Dialect::Verb
    }
}
