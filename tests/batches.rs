//! Batches of updates, as stores keep them and give them back.

use bytes::Bytes;
use yroom::{Batch, Seq};

fn three() -> Batch {
    let updates: [&[u8]; 3] = [b"one", b"", &[7; 300]];
    Batch::of(Seq(5), updates).expect("it is not empty")
}

fn updates(batch: &Batch) -> Vec<Vec<u8>> {
    batch.updates().map(<[u8]>::to_vec).collect()
}

#[test]
fn what_is_written_is_read_again() {
    let batch = three();
    assert_eq!((batch.first(), batch.last()), (Seq(5), Seq(7)));
    assert_eq!(updates(&batch), [b"one".to_vec(), Vec::new(), vec![7; 300]]);
    let again = Batch::from_framed(Seq(5), batch.framed().clone());
    assert_eq!(again.as_ref(), Some(&batch));
    let single = Batch::single(Seq(9), b"alone");
    assert_eq!((single.first(), single.last()), (Seq(9), Seq(9)));
    assert_eq!(updates(&single), [b"alone".to_vec()]);
    assert_eq!(Batch::of(Seq(1), []), None);
}

#[test]
fn bytes_that_are_cut_off_or_empty_are_no_batch() {
    let framed = three().framed().clone();
    for cut in 0..framed.len() {
        let batch = Batch::from_framed(Seq(1), framed.slice(..cut));
        // Only between two updates it is a shorter one.
        let between = [4, 5].contains(&cut);
        assert_eq!(batch.is_some(), between, "{cut} of {}", framed.len());
    }
    let endless = Bytes::from_static(&[0xff; 20]);
    assert_eq!(Batch::from_framed(Seq(1), endless), None);
}

#[test]
fn a_batch_is_split_after_any_of_its_places() {
    let batch = three();
    assert_eq!(batch.split(Seq(4)), (None, Some(batch.clone())));
    assert_eq!(batch.split(Seq(7)), (Some(batch.clone()), None));
    assert_eq!(batch.split(Seq(100)), (Some(batch.clone()), None));
    for at in 5..7 {
        let (head, tail) = batch.split(Seq(at));
        let (head, tail) = (head.expect("there is one"), tail.expect("there is one"));
        assert_eq!((head.first(), head.last()), (Seq(5), Seq(at)));
        assert_eq!((tail.first(), tail.last()), (Seq(at + 1), Seq(7)));
        assert_eq!([updates(&head), updates(&tail)].concat(), updates(&batch));
    }
}
