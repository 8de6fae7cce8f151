//! What happens around every call: is the library initialised, are the arguments there, what does the control
//! file say about this call, and only then the body.

use std::cell::Cell;
use std::marker::PhantomData;

use sim::Live;
use sim::conditions::Effect;
use sim::control::Garbage;
use sim::live::Moment;

/// A vendor's library: its return codes, and where a call of it begins.
pub trait Library: Copy {
    /// What a body answers in place of a value.
    type Code;
    /// The return value's type in C.
    type Return;

    /// Before initialisation, and after the driver it was made for.
    const UNINITIALIZED: Self::Code;
    /// A null pointer.
    const INVALID_ARGUMENT: Self::Code;
    /// A buffer that is too short.
    const INSUFFICIENT_SIZE: Self::Code;
    /// A device that has fallen off the bus.
    const LOST: Self::Code;

    /// A code of the control file, by its number.
    fn code(number: u32) -> Self::Code;

    /// An answer as C is given it.
    fn returned(answer: Answer<(), Self>) -> Self::Return;

    /// Runs `body` as the function `name`: calls [`run`] with the machine that is open.
    fn run(name: &'static str, body: impl FnOnce(Call<'_, Self>) -> Answer<(), Self>) -> Self::Return;

    /// What the driver answers whatever was asked, for what stands of the device.
    fn refusal(_: &Call<'_, Self>) -> Option<Self::Code> {
        None
    }
}

/// What a body returns: a value or the vendor's code.
pub type Answer<T, L> = Result<T, <L as Library>::Code>;

/// A call in progress.
pub struct Call<'a, L> {
    name: &'static str,
    /// The open machine.
    pub live: &'a Live,
    /// The load of the driver that the library was initialised for.
    pub epoch: u32,
    /// The time of the call.
    pub moment: Moment<'a>,
    /// The device that the call is about; set by the argument that names it.
    pub device: Cell<Option<usize>>,
    /// What nonsense to answer.
    pub garbage: Option<Garbage>,
    library: PhantomData<L>,
}

/// Runs `body` as the function `name`, on the machine that is open and for the load of the driver that callers
/// may rely on; without either the library is not initialised.
pub fn run<L: Library>(
    name: &'static str,
    live: Option<&Live>,
    epoch: Option<u32>,
    body: impl FnOnce(Call<'_, L>) -> Answer<(), L>,
) -> L::Return {
    let call = live.zip(epoch).and_then(|(live, epoch)| {
        let moment = live.now();
        let (device, garbage, library) = (Cell::new(None), None, PhantomData);
        (moment.driver_epoch() == Some(epoch)).then_some(Call {
            name,
            live,
            epoch,
            moment,
            device,
            garbage,
            library,
        })
    });
    L::returned(call.ok_or(L::UNINITIALIZED).and_then(body))
}

/// Lets what the control file says about a call happen: an error, a delay, or (told) nonsense to answer.
///
/// # Errors
/// The code that the control file asks for.
pub fn meet_faults<L: Library>(
    moment: &Moment<'_>,
    name: &str,
    device: Option<usize>,
) -> Answer<Option<Effect>, L> {
    match moment.meet(name, device) {
        Some(Effect::Error(code)) => Err(L::code(code)),
        Some(Effect::Lost) => Err(L::LOST),
        met => Ok(met),
    }
}

impl<L: Library> Call<'_, L> {
    /// Lets the faults of this call happen. What the body then reads is of the time after them.
    ///
    /// # Errors
    /// As the control file says, or the driver of a device that stands so.
    pub fn after_faults(self) -> Answer<Self, L> {
        let call = match meet_faults::<L>(&self.moment, self.name, self.device.get())? {
            None => self,
            Some(Effect::Garbage(class)) => Self { garbage: Some(class), ..self },
            Some(_) => Self { moment: self.live.now(), ..self },
        };
        L::refusal(&call).map_or(Ok(call), Err)
    }
}

/// Declares functions of a library.
///
/// `fn name(call, argument: Kind, ...) { body }`: each argument is taken by its [`Argument`](crate::Argument), and
/// the body runs with `call` after the faults.
#[macro_export]
macro_rules! entries {
    ($library:ty; $(fn $name:ident($call:ident $(, $argument:ident: $kind:ty)* $(,)?) $body:block)*) => {$(
        #[doc = concat!("`", stringify!($name), "` as the vendor's header declares it.")]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            $($argument: <$kind as $crate::Argument<$library>>::Raw),*
        ) -> <$library as $crate::Library>::Return {
            <$library as $crate::Library>::run(stringify!($name), |$call| {
                $(
                    let $argument = {
                        // SAFETY: the caller passes what the vendor's header declares for this parameter.
                        unsafe { <$kind as $crate::Argument<$library>>::take($argument, &$call) }?
                    };
                )*
                let $call = &$call.after_faults()?;
                $body
            })
        }
    )*};
}
