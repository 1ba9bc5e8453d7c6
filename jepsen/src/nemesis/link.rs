//! Links that are slow, lose packets, repeat them and mix them up.

use std::time::Duration;

use fastrand::Rng;

use super::{Field, Nemesis};
use crate::{
    fleet::Place,
    ground::link::{Counters, LinkRule},
};

pub fn all() -> Vec<Box<dyn Nemesis>> {
    vec![
        Box::new(Bad {
            name: "slow-links",
            about: "all links of a region take 80 ms more each way",
            rule: LinkRule {
                delay: Duration::from_millis(80),
                jitter: Duration::from_millis(20),
                reorder: false,
                loss: 0.0,
                duplication: 0.0,
            },
            shows: |counters| counters.delayed,
        }),
        Box::new(Bad {
            name: "lossy-links",
            about: "all links of a region lose a packet in ten",
            rule: LinkRule {
                delay: Duration::ZERO,
                jitter: Duration::ZERO,
                reorder: false,
                loss: 0.1,
                duplication: 0.0,
            },
            shows: |counters| counters.lost,
        }),
        Box::new(Bad {
            name: "mixed-up-links",
            about: "all links of a region repeat packets and let them overtake each other",
            rule: LinkRule {
                delay: Duration::from_millis(2),
                jitter: Duration::from_millis(15),
                reorder: true,
                loss: 0.01,
                duplication: 0.1,
            },
            shows: |counters| counters.duplicated,
        }),
    ]
}

struct Bad {
    name: &'static str,
    about: &'static str,
    rule: LinkRule,
    shows: fn(Counters) -> u64,
}

impl Nemesis for Bad {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let one = field.place(random);
        let stroke = field.stroke(
            self.name,
            format!("{} of {}", self.name, one.region),
            &[one],
        );
        let before = self.effect(field, one);
        self.set(field, one, self.rule)?;
        field.hold(random, 3.0..12.0);
        self.set(field, one, LinkRule::default())?;
        let touched = self.effect(field, one) - before;
        if touched > 0 {
            stroke.effect(format!("{touched} packets"));
        }
        Ok(())
    }
}

impl Bad {
    fn set(&self, field: &Field, one: &Place, rule: LinkRule) -> anyhow::Result<()> {
        for (from, to) in links(field, one) {
            field.fleet.network.set(from, to, rule)?;
        }
        Ok(())
    }

    fn effect(&self, field: &Field, one: &Place) -> u64 {
        let counters = links(field, one);
        let counters =
            counters.filter_map(|(from, to)| field.fleet.network.counters(from, to).ok());
        counters.map(self.shows).sum()
    }
}

/// Both directions between a region and all others.
fn links<'a>(field: &'a Field, one: &'a Place) -> impl Iterator<Item = (&'a str, &'a str)> {
    let others = field.fleet.places.iter().filter(|it| it.index != one.index);
    others.flat_map(|other| [(one.region, other.region), (other.region, one.region)])
}
