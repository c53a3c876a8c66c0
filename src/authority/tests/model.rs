//! Random trees of grants against a simple model: what every step should answer, step by step.

use std::future::Future;
use std::pin::Pin;

use super::*;

const STEPS: usize = 6_000;
const DEPTH: usize = 5;

/// A grant as the model sees it, and what the test holds of the real one.
struct Node {
    parent: Option<usize>,
    depth: usize,
    permissions: Permissions,
    expires: Option<u64>,
    ended: Option<EndCause>,
    grant: Option<Arc<Grant>>,
    passes: Vec<Pass>,
    streams: Vec<StreamPass>,
}

/// A revoke that has not been answered yet.
struct Pending {
    node: usize,
    answer: Pin<Box<dyn Future<Output = ()> + Send>>,
}

struct Model {
    random: u64,
    authority: Arc<Authority>,
    clock: Clock,
    seconds: u64,
    nodes: Vec<Node>,
    pending: Vec<Pending>,
    revokes: usize,
    answered_late: usize,
}

impl Model {
    fn new(seed: u64) -> Self {
        let clock = Clock::standing_at(NOW);
        let limits = EngineLimits { grant_depth: DEPTH, ..EngineLimits::default() };
        let authority = Authority::new(limits, clock.clone());
        Self {
            random: seed,
            authority,
            clock,
            seconds: 0,
            nodes: Vec::new(),
            pending: Vec::new(),
            revokes: 0,
            answered_late: 0,
        }
    }

    /// SplitMix64, so that a failure can be repeated from its seed.
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }

    fn step(&mut self) {
        match self.below(100) {
            0..25 => self.derive(),
            25..60 => self.check(),
            60..70 => self.stream(),
            70..76 => self.let_go_of_a_call(),
            76..82 => self.let_go_of_a_stream(),
            82..86 => self.revoke(),
            86..95 => self.drop_one(),
            95..98 => self.advance(),
            _ => self.root(),
        }
        self.poll();
    }

    fn pick(&mut self) -> Option<(usize, Arc<Grant>)> {
        let held: Vec<_> = (0..self.nodes.len()).filter(|index| self.nodes[*index].grant.is_some()).collect();
        let index = *held.get(self.below(held.len().max(1)))?;
        Some((index, Arc::clone(self.nodes[index].grant.as_ref().unwrap())))
    }

    fn root(&mut self) {
        let mut identity = identity("alice");
        let expires = (self.below(3) == 0).then(|| self.seconds + self.below(20) as u64);
        identity.expires = expires.map(after);
        let grant = self.authority.root(&identity, Scope::agent(""));
        self.add(None, Permissions::ALL, expires, grant);
    }

    fn add(
        &mut self,
        parent: Option<usize>,
        permissions: Permissions,
        expires: Option<u64>,
        grant: Arc<Grant>,
    ) {
        let over = expires.is_some_and(|end| end <= self.seconds);
        self.nodes.push(Node {
            parent,
            depth: parent.map_or(0, |parent| self.nodes[parent].depth + 1),
            permissions,
            expires,
            ended: over.then_some(EndCause::Expired),
            grant: Some(grant),
            passes: Vec::new(),
            streams: Vec::new(),
        });
    }

    fn derive(&mut self) {
        let Some((index, grant)) = self.pick() else { return self.root() };
        let wanted: Option<Permissions> =
            (self.below(2) == 0).then(|| Permission::ALL.into_iter().filter(|_| self.below(5) > 0).collect());
        let expires = (self.below(3) == 0).then(|| (self.seconds + self.below(20) as u64).saturating_sub(1));
        let read_only = self.below(8) == 0;
        let policy =
            Policy { permissions: wanted, read_only, expires: expires.map(after), ..Policy::default() };
        let answer = grant.derive(&policy);

        let parent = &self.nodes[index];
        let all = wanted.unwrap_or(parent.permissions);
        let left = if read_only { all.intersection(Permissions::READ_ONLY) } else { all };
        let expected = if parent.ended.is_some() {
            Err(FaultKind::Revoked)
        } else if expires.is_some_and(|end| end <= self.seconds) {
            Err(FaultKind::InvalidParams)
        } else if !all.is_subset_of(parent.permissions) {
            Err(FaultKind::Forbidden)
        } else if left.is_empty() {
            Err(FaultKind::InvalidParams)
        } else if parent.depth >= DEPTH {
            Err(FaultKind::Quota)
        } else {
            Ok((left, [parent.expires, expires].into_iter().flatten().min()))
        };
        let seen = answer.as_ref().map(|child| (child.permissions(), child.expires()));
        assert_eq!(seen.map_err(Fault::kind), expected.map(|(left, end)| (left, end.map(after))));
        if let (Ok(child), Ok((left, end))) = (answer, expected) {
            self.add(Some(index), left, end, child);
        }
    }

    fn check(&mut self) {
        let Some((index, grant)) = self.pick() else { return };
        let permission = Permission::ALL[self.below(Permission::ALL.len())];
        let answer = grant.check(permission, self.clock.now());
        let node = &self.nodes[index];
        let expected = match &node.ended {
            Some(cause) => Err(cause.fault()),
            None if node.permissions.contains(permission) => Ok(()),
            None => Err(answer.as_ref().unwrap_err().clone()),
        };
        assert_eq!(answer.as_ref().map(drop).map_err(Clone::clone), expected);
        match answer {
            Ok(pass) if self.below(3) == 0 => self.nodes[index].passes.push(pass),
            Err(fault) if self.nodes[index].ended.is_none() => assert_eq!(fault.kind(), FaultKind::Forbidden),
            _ => {}
        }
    }

    fn stream(&mut self) {
        let Some((index, grant)) = self.pick() else { return };
        match (grant.stream(), &self.nodes[index].ended) {
            (Ok(stream), None) => self.nodes[index].streams.push(stream),
            (Err(fault), Some(cause)) => assert_eq!(fault, cause.fault()),
            (answer, ended) => panic!("{answer:?}, but {ended:?}"),
        }
        assert_eq!(grant.end_cause(), self.nodes[index].ended);
    }

    fn let_go_of_a_call(&mut self) {
        let holding: Vec<_> = (0..self.nodes.len()).filter(|i| !self.nodes[*i].passes.is_empty()).collect();
        for _ in 0..holding.len().div_ceil(2) {
            let index = holding[self.below(holding.len())];
            self.nodes[index].passes.pop();
        }
    }

    fn let_go_of_a_stream(&mut self) {
        let holding: Vec<_> = (0..self.nodes.len()).filter(|i| !self.nodes[*i].streams.is_empty()).collect();
        for _ in 0..holding.len().div_ceil(2) {
            let index = holding[self.below(holding.len())];
            self.nodes[index].streams.pop();
        }
    }

    fn revoke(&mut self) {
        let Some((index, grant)) = self.pick() else { return };
        self.revokes += 1;
        let cause = revoked(&format!("step {}", self.revokes), None);
        let answer = Box::pin(grant.revoke(cause.clone()));
        self.pending.push(Pending { node: index, answer });
        for below in 0..self.nodes.len() {
            if self.is_within(below, index) {
                self.nodes[below].ended.get_or_insert(cause.clone());
            }
        }
    }

    fn is_within(&self, mut node: usize, above: usize) -> bool {
        while node != above {
            match self.nodes[node].parent {
                Some(parent) => node = parent,
                None => return false,
            }
        }
        true
    }

    fn is_busy(&self, above: usize) -> bool {
        let holds = |node: &Node| !node.passes.is_empty() || !node.streams.is_empty();
        (0..self.nodes.len()).any(|index| holds(&self.nodes[index]) && self.is_within(index, above))
    }

    fn drop_one(&mut self) {
        if let Some((index, _)) = self.pick() {
            self.nodes[index].grant = None;
        }
    }

    fn advance(&mut self) {
        self.seconds += self.below(4) as u64;
        self.clock.set(after(self.seconds));
        for node in &mut self.nodes {
            if node.expires.is_some_and(|end| end <= self.seconds) {
                node.ended.get_or_insert(EndCause::Expired);
            }
        }
    }

    /// Every revoke is answered exactly when nothing is left under it.
    fn poll(&mut self) {
        for mut pending in std::mem::take(&mut self.pending) {
            let answered = pending.answer.as_mut().now_or_never().is_some();
            assert_eq!(answered, !self.is_busy(pending.node));
            if !answered {
                self.answered_late += 1;
                self.pending.push(pending);
            }
        }
    }

    /// What the real thing counts is what the model holds. (A revoke that waits holds grants of its own.)
    fn compare_counters(&self) {
        let counters = self.authority.counters();
        let sum = |count: fn(&Node) -> usize| self.nodes.iter().map(count).sum::<usize>() as u64;
        assert_eq!(counters.calls, sum(|node| node.passes.len()));
        assert_eq!(counters.streams, sum(|node| node.streams.len()));
        let holds = |node: &Node| node.grant.is_some() || !node.passes.is_empty() || !node.streams.is_empty();
        let mut alive = vec![false; self.nodes.len()];
        for index in (0..self.nodes.len()).rev() {
            alive[index] |= holds(&self.nodes[index]);
            if let (true, Some(parent)) = (alive[index], self.nodes[index].parent) {
                alive[parent] = true;
            }
        }
        let alive = alive.into_iter().filter(|alive| *alive).count() as u64;
        assert!(counters.grants >= alive, "{counters:?}, but {alive}");
        assert!(!self.pending.is_empty() || counters.grants == alive, "{counters:?}, but {alive}");
    }
}

#[test]
fn random_trees_answer_as_the_simple_model_does() {
    for seed in [1, 2, 3, 4] {
        let mut model = Model::new(seed);
        for step in 0..STEPS {
            model.step();
            if step % 50 == 0 {
                model.compare_counters();
            }
        }
        assert!(model.revokes > 50 && model.answered_late > 50, "the walk visits what it is for");
        model.nodes.clear();
        model.pending.clear();
        assert_eq!(model.authority.counters(), Counters::default(), "seed {seed}");
    }
}
