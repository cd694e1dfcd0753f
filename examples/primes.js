// The completion value of a script is its result.
const isPrime = (n) => n > 1 && !Array.from({ length: Math.floor(Math.sqrt(n)) - 1 }, (_, i) => i + 2).some((d) => n % d === 0);
console.log("primes below 30:");
Array.from({ length: 30 }, (_, n) => n).filter(isPrime);
