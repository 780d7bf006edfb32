//! The events of a store in memory.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Bound;

use async_trait::async_trait;
use jiff::Timestamp;

use super::MemoryStore;
use crate::queue::outbox::drop_upto;
use crate::queue::standing::whole_millisecond;
use crate::queue::{
    CarriedEvents, EVENTS_MAX, Emission, Events, Happened, Key, MoveFilter, ONCE_MAX, OnceKeys, Outbox, OutboxEvent,
    READERS_MAX, Reader, StoreError,
};

/// The events that are kept, and who reads them.
#[derive(Debug)]
pub(super) struct KeptEvents {
    filter: MoveFilter,
    last: u64,
    events: BTreeMap<u64, OutboxEvent>,
    readers: BTreeMap<Key, u64>,
    /// The keys that were emitted, oldest first.
    once: VecDeque<Key>,
    emitted: HashSet<Key>,
}

impl Default for KeptEvents {
    fn default() -> Self {
        Self {
            filter: MoveFilter::ALL,
            last: 0,
            events: BTreeMap::new(),
            readers: BTreeMap::new(),
            once: VecDeque::new(),
            emitted: HashSet::new(),
        }
    }
}

impl KeptEvents {
    /// Records an event, if anybody reads it.
    pub(super) fn record(&mut self, at: Timestamp, happened: impl FnOnce() -> Happened) {
        if self.readers.is_empty() {
            return;
        }
        let happened = happened();
        if let Happened::Moved(moved) = &happened
            && !self.filter.lets(moved.from, moved.to)
        {
            return;
        }
        self.last += 1;
        let number = self.last;
        self.events.insert(number, OutboxEvent { number, at, happened });
        if let Some(upto) = drop_upto(number) {
            self.events.retain(|number, event| *number > upto || event.happened.is_never_dropped());
        }
    }

    /// Lists the keys of what was emitted: of those here, each one's place is its number.
    pub(super) fn once_keys(&self, after: u64, limit: usize) -> OnceKeys {
        let skipped = usize::try_from(after).unwrap_or(usize::MAX);
        let keys: Vec<_> = self.once.iter().skip(skipped).take(limit).cloned().collect();
        let next = (keys.len() == limit).then(|| after.saturating_add(limit as u64));
        OnceKeys { keys, next }
    }

    /// Takes in the events of another store; what is there stays.
    pub(super) fn take(&mut self, carried: &CarriedEvents) {
        let CarriedEvents { last, readers, events, once } = carried;
        for (name, upto) in readers {
            self.readers.entry(name.clone()).or_insert(*upto);
        }
        for event in events {
            self.events.entry(event.number).or_insert_with(|| event.clone());
            self.last = self.last.max(event.number);
        }
        self.last = self.last.max(*last);
        for key in once {
            self.remember(key);
        }
    }

    /// Remembers a key and forgets the oldest; false where it was remembered before.
    fn remember(&mut self, once: &Key) -> bool {
        if !self.emitted.insert(once.clone()) {
            return false;
        }
        self.once.push_back(once.clone());
        if self.once.len() as u64 > ONCE_MAX {
            self.once.pop_front().map(|oldest| self.emitted.remove(&oldest));
        }
        true
    }

    fn register(&mut self, reader: &Key) -> Option<u64> {
        if !self.readers.contains_key(reader) && self.readers.len() >= READERS_MAX {
            return None;
        }
        Some(*self.readers.entry(reader.clone()).or_insert(self.last))
    }

    fn emit(&mut self, emission: &Emission, once: &Key, now: Timestamp) -> bool {
        if self.readers.is_empty() || !self.remember(once) {
            return false;
        }
        self.record(now, || Happened::Emitted(emission.clone()));
        true
    }

    fn events(&self, after: u64, limit: usize) -> Events {
        let behind = self.events.range((Bound::Excluded(after), Bound::Unbounded));
        let page: Vec<_> = behind.take(limit).map(|(_, event)| event.clone()).collect();
        let full = page.last().filter(|_| page.len() == limit).map(|event| event.number);
        Events::new(page, after, full.unwrap_or(self.last))
    }

    fn trim(&mut self, reader: &Key, upto: u64) -> bool {
        let Some(place) = self.readers.get_mut(reader) else { return false };
        *place = upto.min(self.last).max(*place);
        self.remove_read();
        true
    }

    fn remove_read(&mut self) {
        let read = self.readers.values().min().copied().unwrap_or(self.last);
        self.events.retain(|number, _| *number > read);
    }
}

#[async_trait]
impl Outbox for MemoryStore {
    async fn register(&self, reader: &Key) -> Result<Option<u64>, StoreError> {
        Ok(self.kept.lock().outbox.register(reader))
    }

    async fn unregister(&self, reader: &Key) -> Result<bool, StoreError> {
        let outbox = &mut self.kept.lock().outbox;
        let was_there = outbox.readers.remove(reader).is_some();
        outbox.remove_read();
        Ok(was_there)
    }

    async fn readers(&self) -> Result<Vec<Reader>, StoreError> {
        let outbox = &self.kept.lock().outbox;
        let readers = outbox.readers.iter();
        Ok(readers.map(|(name, upto)| Reader { name: name.clone(), upto: *upto, behind: outbox.last - upto }).collect())
    }

    async fn record_moves(&self, filter: MoveFilter) -> Result<(), StoreError> {
        self.kept.lock().outbox.filter = filter;
        Ok(())
    }

    async fn emit(&self, emission: &Emission, once: &Key, now: Timestamp) -> Result<bool, StoreError> {
        let emitted = self.kept.lock().outbox.emit(emission, once, whole_millisecond(now));
        if emitted {
            self.wake();
        }
        Ok(emitted)
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Events, StoreError> {
        Ok(self.kept.lock().outbox.events(after, limit.clamp(1, EVENTS_MAX)))
    }

    async fn trim(&self, reader: &Key, upto: u64) -> Result<bool, StoreError> {
        Ok(self.kept.lock().outbox.trim(reader, upto))
    }
}
