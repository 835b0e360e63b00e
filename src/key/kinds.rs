//! The types that are keys.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;

use super::writer::Tag;
use super::{Key, KeyWriter};

impl Key for str {
    #[inline]
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        out.whole(Tag::Text, self.as_bytes());
    }
}

impl Key for String {
    #[inline]
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        self.as_str().write_to(out);
    }
}

impl Key for char {
    #[inline]
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        self.encode_utf8(&mut [0; 4]).write_to(out);
    }
}

impl Key for bool {
    #[inline]
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        out.fixed(Tag::Truth, [u8::from(*self)]);
    }
}

impl Key for u8 {
    #[inline]
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        out.natural(u64::from(*self));
    }

    #[inline]
    fn write_slice<W: KeyWriter>(octets: &[Self], out: &mut W) {
        out.whole(Tag::Octets, octets);
    }
}

macro_rules! unsigned {
    ($($type:ty)*) => {$(
        impl Key for $type {
            #[inline]
            fn write_to<W: KeyWriter>(&self, out: &mut W) {
                // None of them is wider.
                out.natural(*self as u64);
            }
        }
    )*};
}
unsigned!(u16 u32 u64 usize);

impl Key for u128 {
    #[inline]
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        match u64::try_from(*self) {
            Ok(value) => out.natural(value),
            Err(_) => out.fixed(Tag::Natural, self.to_be_bytes()),
        }
    }
}

macro_rules! signed {
    ($($type:ty)*) => {$(
        impl Key for $type {
            #[inline]
            fn write_to<W: KeyWriter>(&self, out: &mut W) {
                let size = self.unsigned_abs();
                if *self >= 0 {
                    size.write_to(out);
                } else {
                    match u64::try_from(size) {
                        Ok(size) => out.fixed(Tag::Negative, size.to_be_bytes()),
                        Err(_) => out.fixed(Tag::Negative, (size as u128).to_be_bytes()),
                    }
                }
            }
        }
    )*};
}
signed!(i8 i16 i32 i64 i128 isize);

macro_rules! nonzero {
    ($($type:ty)*) => {$(
        impl Key for NonZero<$type> {
            #[inline]
            fn write_to<W: KeyWriter>(&self, out: &mut W) {
                self.get().write_to(out);
            }
        }
    )*};
}
nonzero!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

impl Key for Ipv4Addr {
    #[inline]
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        out.fixed(Tag::Address, self.octets());
    }
}

impl Key for Ipv6Addr {
    #[inline]
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        out.fixed(Tag::Address, self.octets());
    }
}

impl Key for IpAddr {
    #[inline]
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        match self {
            Self::V4(address) => address.write_to(out),
            Self::V6(address) => address.write_to(out),
        }
    }
}

impl Key for SocketAddrV4 {
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        let mut contents = [0; 6];
        contents[..4].copy_from_slice(&self.ip().octets());
        contents[4..].copy_from_slice(&self.port().to_be_bytes());
        out.fixed(Tag::WithPort, contents);
    }
}

/// With all that tells two of them apart: link-local addresses of two interfaces differ in their scope alone.
impl Key for SocketAddrV6 {
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        let mut contents = [0; 26];
        contents[..16].copy_from_slice(&self.ip().octets());
        contents[16..18].copy_from_slice(&self.port().to_be_bytes());
        contents[18..22].copy_from_slice(&self.flowinfo().to_be_bytes());
        contents[22..].copy_from_slice(&self.scope_id().to_be_bytes());
        out.whole(Tag::WithPort, &contents);
    }
}

impl Key for SocketAddr {
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        match self {
            Self::V4(address) => address.write_to(out),
            Self::V6(address) => address.write_to(out),
        }
    }
}

impl<K: Key> Key for [K] {
    #[inline]
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        K::write_slice(self, out);
    }
}

impl<K: Key, const N: usize> Key for [K; N] {
    #[inline]
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        K::write_slice(self, out);
    }
}

impl<K: Key> Key for Vec<K> {
    #[inline]
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        K::write_slice(self, out);
    }
}

impl<K: Key> Key for Option<K> {
    #[inline]
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        out.group(Tag::Option, usize::from(self.is_some()));
        if let Some(key) = self {
            key.write_to(out);
        }
    }
}

macro_rules! tuple {
    ($count:literal: $($part:ident $index:tt)*) => {
        impl<$($part: Key),*> Key for ($($part,)*) {
            #[inline]
            fn write_to<Out: KeyWriter>(&self, out: &mut Out) {
                out.group(Tag::Tuple, $count);
                $(self.$index.write_to(out);)*
            }
        }
    };
}
tuple!(0:);
tuple!(1: A 0);
tuple!(2: A 0 B 1);
tuple!(3: A 0 B 1 C 2);
tuple!(4: A 0 B 1 C 2 D 3);
tuple!(5: A 0 B 1 C 2 D 3 E 4);
tuple!(6: A 0 B 1 C 2 D 3 E 4 F 5);
tuple!(7: A 0 B 1 C 2 D 3 E 4 F 5 G 6);
tuple!(8: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7);
tuple!(9: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8);
tuple!(10: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9);
tuple!(11: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10);
tuple!(12: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11);

macro_rules! pointer {
    ($($type:ty)*) => {$(
        impl<K: Key + ?Sized> Key for $type {
            #[inline]
            fn write_to<W: KeyWriter>(&self, out: &mut W) {
                (**self).write_to(out);
            }
        }
    )*};
}
pointer!(&K &mut K Box<K> Rc<K> Arc<K>);

impl<K: Key + ToOwned + ?Sized> Key for Cow<'_, K> {
    #[inline]
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        (**self).write_to(out);
    }
}
