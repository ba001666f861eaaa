//! Converting packed texts into entities, and how long to wait with it.
//!
//! `%%` stands between entities, `&&` between an entity's name and the names and values of its parameters.

use std::collections::HashMap;
use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::token::Random;
use crate::clock::UnixSeconds;
use crate::limits;
use crate::model::{Entities, Entity};

/// What `data` says. Empty elements never get into it: not a pair without a name or a value, not an entity
/// without a name or without pairs. Pairs are told by their position before anything is left out. Where a
/// name stands again the later value counts, at the place of the first.
pub(super) fn convert(data: &str) -> Entities {
    let mut entities: Vec<Gathered<'_>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for text in data.split(BETWEEN_ENTITIES) {
        let mut elements = text.split(BETWEEN_ELEMENTS);
        let name = elements.next().unwrap_or_default();
        if name.is_empty() {
            continue;
        }
        while let (Some(parameter), Some(value)) = (elements.next(), elements.next()) {
            if parameter.is_empty() || value.is_empty() {
                continue;
            }
            let place = *places.entry(name).or_insert_with(|| {
                entities.push(Gathered { name, ..Gathered::default() });
                entities.len() - 1
            });
            entities[place].set(parameter, value);
        }
    }
    Entities(entities.into_iter().map(Gathered::into_entity).collect())
}

/// Draws a time out of `range`, each millisecond as likely as any other.
pub(super) fn draw(range: &RangeInclusive<Duration>, random: &mut dyn Random) -> io::Result<Duration> {
    let (min, max) = (range.start().as_millis() as u64, range.end().as_millis() as u64);
    if min >= max {
        return Ok(*range.start());
    }
    let mut bytes = [0; 8];
    random.fill(&mut bytes)?;
    // Times are hours at most: so small a range is next to nothing to 64 bits, and no time is favoured.
    Ok(Duration::from_millis(min + u64::from_le_bytes(bytes) % (max - min + 1)))
}

/// Tells the log of each delay, as long as there are few.
#[derive(Debug, Default)]
pub(super) struct DelayLog {
    second: UnixSeconds,
    told: u32,
    held_back: u64,
}

impl DelayLog {
    /// Tells of a delay of one request, or counts it for later.
    pub(super) fn tell(&mut self, delay: Duration, now: UnixSeconds) {
        if self.second != now {
            let held_back = std::mem::take(&mut self.held_back);
            (self.second, self.told) = (now, 0);
            if held_back > 0 {
                log::info!("Timeouts for {held_back} more that were not told one by one.");
            }
        }
        if self.told < limits::DELAYS_LOGGED_PER_SECOND_MAX {
            self.told += 1;
            log::info!("Timeout {:.1} seconds for this one.", delay.as_secs_f64());
        } else {
            self.held_back += 1;
        }
    }
}

/// An entity whose parameters are being found.
#[derive(Default)]
struct Gathered<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    places: HashMap<&'a str, usize>,
}

impl<'a> Gathered<'a> {
    fn set(&mut self, parameter: &'a str, value: &'a str) {
        let next = self.parameters.len();
        match *self.places.entry(parameter).or_insert(next) {
            place if place == next => self.parameters.push((parameter, value)),
            place => self.parameters[place].1 = value,
        }
    }

    fn into_entity(self) -> Entity {
        let parameters = self.parameters.into_iter();
        Entity {
            name: self.name.into(),
            parameters: parameters.map(|(name, value)| (name.into(), value.into())).collect(),
        }
    }
}

const BETWEEN_ENTITIES: &str = "%%";
const BETWEEN_ELEMENTS: &str = "&&";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::token::SystemRandom;

    /// Entities as `name{parameter=value,…}`, so that cases fit on a line.
    fn shown(data: &str) -> String {
        let entity = |entity: &Entity| {
            let parameters: Vec<String> =
                entity.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{}{{{}}}", entity.name, parameters.join(","))
        };
        convert(data).0.iter().map(entity).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn texts_become_entities_and_nothing_empty_gets_in() {
        let cases = [
            (
                "Hub&&name&&qwe&&id&&123&&%%Device&&name&&wqe&&id&&234&&",
                "Hub{name=qwe,id=123} Device{name=wqe,id=234}",
            ),
            ("", ""),
            ("%%", ""),
            ("&&", ""),
            ("Hub", ""),
            ("Hub&&", ""),
            ("Hub&&name", ""),
            ("Hub&&name&&", ""),
            ("Hub&&name&&qwe", "Hub{name=qwe}"),
            ("Hub&&name&&qwe&&id", "Hub{name=qwe}"),
            ("Hub&&&&qwe&&id&&1", "Hub{id=1}"),
            ("Hub&&name&&&&id&&1", "Hub{id=1}"),
            ("Hub&&name&&&&&&1", ""),
            ("&&name&&qwe", ""),
            ("%%Hub&&a&&1%%%%", "Hub{a=1}"),
            ("Hub&&a&&1&&a&&2&&b&&3", "Hub{a=2,b=3}"),
            ("Hub&&a&&1%%Device&&b&&2%%Hub&&c&&3&&a&&4", "Hub{a=4,c=3} Device{b=2}"),
            ("Hub&&a&&%%Device&&b&&2%%Hub&&c&&3", "Device{b=2} Hub{c=3}"),
            (" Hub && a && 1 ", " Hub { a = 1 }"),
            ("Hub&&a&b&&1&2", "Hub{a&b=1&2}"),
            ("Hub&&a&&&1", "Hub{a=&1}"),
            ("100%&&a&&1", "100%{a=1}"),
            ("Ёж&&имя&&значение\n", "Ёж{имя=значение\n}"),
        ];
        for (data, wanted) in cases {
            assert_eq!(shown(data), wanted, "{data:?}");
        }
    }

    #[test]
    fn very_many_entities_and_parameters_are_found_at_once() {
        let one_entity: String = (0..100_000).map(|i| format!("&&p{i}&&{i}")).collect();
        assert_eq!(convert(&format!("Hub{one_entity}")).0[0].parameters.len(), 100_000);
        let many: String = (0..200_000).map(|i| format!("e{}&&a&&{i}%%", i % 100_000)).collect();
        let Entities(entities) = convert(&many);
        assert_eq!(entities.len(), 100_000);
        assert_eq!(entities[0].parameters, [("a".to_string(), "100000".to_string())]);
    }

    #[test]
    fn delays_are_drawn_from_their_range_and_both_ends_occur() {
        let range = |min, max| Duration::from_millis(min)..=Duration::from_millis(max);
        let mut drawn: Vec<u64> =
            (0..1000).map(|_| draw(&range(10, 19), &mut SystemRandom).unwrap().as_millis() as u64).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn, (10..=19).collect::<Vec<_>>());
        assert_eq!(draw(&range(7, 7), &mut SystemRandom).unwrap(), Duration::from_millis(7));
    }

    #[test]
    fn few_delays_are_told_each_second_and_the_rest_counted() {
        let mut log = DelayLog::default();
        for _ in 0..250 {
            log.tell(Duration::from_secs(1), UnixSeconds(5));
        }
        assert_eq!((log.told, log.held_back), (100, 150));
        log.tell(Duration::from_secs(1), UnixSeconds(6));
        assert_eq!((log.told, log.held_back), (1, 0));
    }
}
