from worker.watchdog import Watchdog, stacks


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def watchdog(clock: Clock) -> Watchdog:
    return Watchdog(300, clock, lambda _: None)


def test_work_without_any_activity_starves_it_after_the_limit() -> None:
    clock = Clock()
    dog = watchdog(clock)
    dog.turned(7, owing=True)
    for _ in range(299):
        clock.now += 1
        dog.turned(7, owing=True)
        assert not dog.starving()
    clock.now += 1
    dog.turned(7, owing=True)
    assert dog.starving()


def test_any_activity_feeds_it() -> None:
    clock = Clock()
    dog = watchdog(clock)
    dog.turned(7, owing=True)
    clock.now += 299
    dog.turned(8, owing=True)
    clock.now += 299
    assert not dog.starving()


def test_a_loop_with_nothing_to_do_feeds_it() -> None:
    clock = Clock()
    dog = watchdog(clock)
    for _ in range(10):
        clock.now += 200
        dog.turned(7, owing=False)
        assert not dog.starving()


def test_a_loop_that_does_not_turn_at_all_starves_it() -> None:
    clock = Clock()
    dog = watchdog(clock)
    dog.turned(7, owing=False)
    clock.now += 300
    assert dog.starving()


def test_the_stacks_name_this_thread_and_this_function() -> None:
    assert "test_the_stacks_name_this_thread_and_this_function" in stacks()["MainThread"]
