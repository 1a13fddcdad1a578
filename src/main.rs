//! The program: everything is in `tidelock::cli`. Here: the allocator, which tests of the library do without.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    tidelock::cli::main()
}
