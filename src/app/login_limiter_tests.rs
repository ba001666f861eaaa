//! Which login attempts are delayed, and for how long.

use super::*;
use std::net::Ipv4Addr;

const LIMITS: LoginLimits = LoginLimits { failures: Some(5), delay_max: Some(Duration::from_secs(6)) };

fn at(milliseconds: u64) -> Instant {
    Instant::ORIGIN + Duration::from_millis(milliseconds)
}

fn attempt(source: u32, vm: i64) -> LoginAttempt {
    LoginAttempt { source: Source::V4(Ipv4Addr::from_bits(source)), target: LoginTarget::Vm(VmId(vm)) }
}

/// Fails as soon as the limiter permits, from `now` on; returns the delay of each attempt in milliseconds.
fn fail(limiter: &mut LoginLimiter, attempt: LoginAttempt, times: usize, now: &mut Instant) -> Vec<u128> {
    let mut waited = Vec::new();
    for _ in 0..times {
        let start = *now;
        if let Permit::At(at) = limiter.start(attempt, *now) {
            *now = at;
            assert_eq!(limiter.start(attempt, *now), Permit::Now);
        }
        waited.push(now.since(start).as_millis());
        limiter.failed(attempt, *now);
    }
    waited
}

#[test]
fn after_five_failures_the_delay_grows_to_one_attempt_in_six_seconds() {
    let (mut limiter, mut now) = (LoginLimiter::new(LIMITS), at(0));
    let waited = fail(&mut limiter, attempt(1, 1), 20, &mut now);
    assert_eq!(waited[..5], [0; 5]);
    assert_eq!(waited[5..12], [93, 187, 375, 750, 1500, 3000, 6000]);
    assert!(waited[12..].iter().all(|waited| *waited == 6000), "{waited:?}");
    // This applies to every VM, and to a right password as well: only the check shows which is right.
    assert_eq!(limiter.start(attempt(1, 2), now), Permit::At(now + Duration::from_secs(6)));
    // After an hour the failures are forgotten.
    let later = now + Duration::from_secs(3600);
    assert_eq!(limiter.start(attempt(1, 1), later), Permit::Now);
    assert_eq!(fail(&mut limiter, attempt(1, 1), 5, &mut later.clone()), [0; 5]);
}

#[test]
fn occasional_failures_delay_nothing() {
    let mut limiter = LoginLimiter::new(LIMITS);
    for minute in 0..1000 {
        assert_eq!(limiter.start(attempt(1, 1), at(minute * 60_000)), Permit::Now, "minute {minute}");
        limiter.failed(attempt(1, 1), at(minute * 60_000));
    }
}

#[test]
fn concurrent_attempts_run_one_after_the_other() {
    let (mut limiter, mut now) = (LoginLimiter::new(LIMITS), at(0));
    fail(&mut limiter, attempt(1, 1), 20, &mut now);
    let first = now + Duration::from_secs(6);
    assert_eq!(limiter.start(attempt(1, 1), first), Permit::Now);
    assert_eq!(limiter.start(attempt(1, 1), first), Permit::At(first + Duration::from_secs(6)));
    assert_eq!(limiter.last_start(attempt(1, 1).source, first), Some(first));
}

#[test]
fn a_guessed_vm_delays_only_sources_that_failed_for_it() {
    let (mut limiter, mut now) = (LoginLimiter::new(LIMITS), at(0));
    for source in 0..40 {
        assert_eq!(limiter.start(attempt(source, 1), now), Permit::Now, "source {source}");
        limiter.failed(attempt(source, 1), now);
    }
    // Many sources failed once each. From now on they share one attempt in six seconds.
    assert_eq!(limiter.start(attempt(7, 1), now), Permit::At(now + Duration::from_secs(6)));
    assert_eq!(limiter.start(attempt(7, 2), now), Permit::Now, "another VM");
    assert_eq!(limiter.start(attempt(99, 1), now), Permit::Now, "another source");
    now = now + Duration::from_secs(6);
    assert_eq!(limiter.start(attempt(7, 1), now), Permit::Now);
    assert_eq!(limiter.start(attempt(8, 1), now), Permit::At(now + Duration::from_secs(6)));
    // One of them knows the password: the owner, who mistyped it.
    limiter.succeeded(attempt(9, 1));
    assert_eq!(limiter.start(attempt(9, 1), now), Permit::Now);
    assert!(!limiter.has_failed(attempt(9, 1), now) && limiter.has_failed(attempt(8, 1), now));
}

#[test]
fn a_source_that_knows_one_password_guesses_no_faster() {
    let (mut limiter, mut now) = (LoginLimiter::new(LIMITS), at(0));
    fail(&mut limiter, attempt(1, 1), 20, &mut now);
    limiter.succeeded(attempt(1, 2));
    assert_eq!(limiter.start(attempt(1, 1), now), Permit::At(now + Duration::from_secs(6)));
}

#[test]
fn many_names_and_sources_do_not_evict_a_high_count() {
    let (mut limiter, mut now) = (LoginLimiter::new(LIMITS), at(0));
    fail(&mut limiter, attempt(1, 1), 20, &mut now);
    for number in 0..3 * limits::LOGIN_FAILURES_TRACKED_MAX as u32 {
        limiter.failed(attempt(1000 + number, 1000 + i64::from(number)), now);
    }
    assert!(limiter.sources.len() <= limits::LOGIN_FAILURES_TRACKED_MAX);
    assert!(limiter.targets.len() <= limits::LOGIN_FAILURES_TRACKED_MAX);
    assert!(limiter.failed.len() <= limits::LOGIN_FAILURES_TRACKED_MAX);
    assert_eq!(limiter.start(attempt(1, 1), now), Permit::At(now + Duration::from_secs(6)));
}

#[test]
fn delayed_attempts_per_source_are_bounded() {
    let mut limiter = LoginLimiter::new(LIMITS);
    let [one, other] = [1, 2].map(|source| attempt(source, 1).source);
    for _ in 0..8 {
        assert!(limiter.enter(one));
    }
    assert!(!limiter.enter(one));
    assert!(limiter.enter(other));
    limiter.leave(one);
    assert!(limiter.enter(one));
    (0..8).for_each(|_| limiter.leave(one));
    limiter.leave(other);
    assert!(limiter.waiting.is_empty());
}

#[test]
fn nothing_is_delayed_if_either_limit_is_none() {
    for limits in [LoginLimits { failures: None, ..LIMITS }, LoginLimits { delay_max: None, ..LIMITS }] {
        let (mut limiter, mut now) = (LoginLimiter::new(limits), at(0));
        assert_eq!(fail(&mut limiter, attempt(1, 1), 50, &mut now), [0; 50]);
        assert_eq!(limiter.counters().failed, 50);
    }
}

#[test]
fn one_report_covers_all_events_before_it() {
    let mut limiter = LoginLimiter::new(LIMITS);
    assert!(!limiter.takes_report());
    limiter.failed(attempt(1, 1), at(0));
    limiter.count_delayed();
    assert!(limiter.takes_report() && !limiter.takes_report());
    limiter.count_refused();
    assert!(!limiter.takes_report());
    limiter.report();
    assert!(!limiter.takes_report());
    limiter.failed(attempt(1, 1), at(0));
    assert!(limiter.takes_report());
}
