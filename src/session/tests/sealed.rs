//! Sealed connections whose clients have the length of their answer, and not the answer.

use super::*;
use crate::crypto::{MessageKeys, PublicKey, RsaKeyPair};
use crate::embed::KeyPair;
use std::sync::Arc;

/// Such a connection; all output is sent.
fn owing() -> Bench {
    let key_pair = Arc::new(RsaKeyPair::generate(2048).unwrap());
    let listener = SealedListener::new(key_pair.clone()).unwrap().with_first_generation(true);
    let mut bench = Bench::new();
    bench.rules.sealed = Some(listener);
    bench.session = Session::new(&bench.rules);
    let pem = key_pair.public_key_pem();
    let block = PublicKey::from_pem(pem.as_bytes()).unwrap().encrypt(&[7; 48]).unwrap();
    bench.input.push(format!("{:=<8}{pem}11", pem.len()).as_bytes());
    bench.input.push(&block);
    let Step::Exchange(seq, exchange) = bench.next() else { panic!("no exchange") };
    let exchanged = exchange.run().unwrap();
    let mut bytes = [0; 64];
    bytes[..48].copy_from_slice(&key_pair.decrypt(&exchanged.block).unwrap());
    let keys = MessageKeys::from_bytes(&bytes);
    bench.session.exchanged(seq, exchanged, &mut bench.output);
    let mut request = br#"{"verb": "STAT", "parameters": {}}"#.to_vec();
    keys.key.encrypt(keys.iv, &mut request);
    bench.input.push(b"148======");
    bench.input.push(&request);
    let (seq, _) = bench.call();
    bench.answer_with(seq, &Answer::Failed(Failure::Busy));
    assert!(bench.output.as_slice().ends_with(b"======"));
    bench.output.clear();
    bench.waits_for_input();
    bench
}

#[test]
fn the_end_of_input_ends_a_connection_that_owes_an_answer() {
    let mut bench = owing();
    bench.session.end_input();
    assert!(matches!(bench.next(), Step::Finished(Ending::Close)));
    assert!(bench.output.is_empty());
}

#[test]
fn a_connection_that_drains_waits_for_the_acknowledgement_until_its_deadline() {
    let mut bench = owing();
    bench.session.begin_drain(&bench.input);
    bench.waits_for_input();
    assert!(!bench.session.expire(&bench.rules, bench.now));
    bench.now = bench.now + 10 * SECOND;
    assert!(bench.session.expire(&bench.rules, bench.now));
    assert!(matches!(bench.next(), Step::Finished(Ending::Linger)));
    assert!(bench.output.is_empty());

    let mut bench = owing();
    bench.session.begin_drain(&bench.input);
    assert!(matches!(bench.say("1"), Step::Finished(Ending::Linger)));
    assert!(!bench.output.is_empty(), "the answer");
}
