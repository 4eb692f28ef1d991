//! A table whose keys are never reused, with constant-time look-up and no hashing.

/// Values by key; a key is a place and how often the place has been used.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
struct Place<T> {
    uses: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Puts in what `make` makes of its own key.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(u64) -> T) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { uses: 0, value: None });
            self.places.len() as u32 - 1
        });
        let place = &mut self.places[index as usize];
        place.uses += 1;
        let key = u64::from(place.uses) << 32 | u64::from(index);
        place.value = Some(make(key));
        self.len += 1;
        key
    }

    pub(crate) fn get(&self, key: u64) -> Option<&T> {
        let place = self.places.get(key as u32 as usize)?;
        if u64::from(place.uses) == key >> 32 { place.value.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let place = self.places.get_mut(key as u32 as usize)?;
        if u64::from(place.uses) == key >> 32 { place.value.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, key: u64) -> Option<T> {
        let place = self.places.get_mut(key as u32 as usize)?;
        if u64::from(place.uses) != key >> 32 {
            return None;
        }
        let value = place.value.take()?;
        self.len -= 1;
        // A place that has been used 2³² - 1 times is retired, so that its keys stay unique.
        if place.uses < u32::MAX {
            self.free.push(key as u32);
        }
        Some(value)
    }

    /// The keys in use, in the order of their places.
    pub(crate) fn keys(&self) -> impl Iterator<Item = u64> + '_ {
        self.places
            .iter()
            .enumerate()
            .filter(|(_, place)| place.value.is_some())
            .map(|(index, place)| u64::from(place.uses) << 32 | index as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_one_value_for_ever() {
        let mut slab = Slab::new();
        let a = slab.insert_with(|_| 'a');
        let b = slab.insert_with(|_| 'b');
        assert_eq!((slab.get(a), slab.get(b), slab.len()), (Some(&'a'), Some(&'b'), 2));
        assert_eq!(slab.remove(a), Some('a'));
        assert_eq!((slab.remove(a), slab.get(a)), (None, None));
        let c = slab.insert_with(|_| 'c');
        assert_ne!(a, c);
        assert_eq!((slab.get(a), slab.get(c)), (None, Some(&'c')));
        assert_eq!(slab.keys().collect::<Vec<_>>(), [c, b]);
    }
}
