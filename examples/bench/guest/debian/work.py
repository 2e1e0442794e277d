"""Objects, floating point, dictionaries and strings: planets, a sieve, word counts, the queens problem."""


class Body:
    def __init__(self, position, velocity, mass):
        self.position = position
        self.velocity = velocity
        self.mass = mass


def planets(steps):
    bodies = [
        Body([float(n), n * 0.5 - 1.0, 0.25 * n * n], [0.01 * n, -0.02 * n, 0.005], 1.0 / (n + 1))
        for n in range(5)
    ]
    pairs = [(a, b) for i, a in enumerate(bodies) for b in bodies[i + 1 :]]
    for _ in range(steps):
        for a, b in pairs:
            dx, dy, dz = (p - q for p, q in zip(a.position, b.position))
            square = dx * dx + dy * dy + dz * dz + 0.01
            force = 0.001 / (square * square**0.5)
            for axis, distance in enumerate((dx, dy, dz)):
                a.velocity[axis] -= distance * b.mass * force
                b.velocity[axis] += distance * a.mass * force
        for body in bodies:
            for axis in range(3):
                body.position[axis] += 0.001 * body.velocity[axis]
    return sum(body.mass * sum(v * v for v in body.velocity) for body in bodies)


def primes(limit):
    sieve = bytearray([1]) * (limit + 1)
    sieve[0:2] = b"\0\0"
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            for multiple in range(number * number, limit + 1, number):
                sieve[multiple] = 0
    return sum(sieve)


def words(rounds):
    counts = {}
    seed = 12345
    for _ in range(rounds):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        word = f"w{(seed >> 8) % 500:03d}"
        counts[word] = counts.get(word, 0) + 1
    text = ",".join(f"{name}={count}" for name, count in sorted(counts.items()))
    total = 0
    for character in text:
        total = (total * 31 + ord(character)) & 0xFFFFFFFF
    parsed = dict(item.split("=") for item in text.split(","))
    assert sum(map(int, parsed.values())) == rounds
    return f"{len(parsed)} {total:08x}"


def queens(size, columns=(), up=frozenset(), down=frozenset()):
    row = len(columns)
    if row == size:
        return 1
    return sum(
        queens(size, (*columns, column), up | {row + column}, down | {row - column})
        for column in range(size)
        if column not in columns and row + column not in up and row - column not in down
    )


print("planets", repr(planets(800)))
print("primes", primes(300000))
print("words", words(60000))
print("queens", queens(7))
