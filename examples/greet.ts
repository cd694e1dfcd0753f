// Types are erased, lines and columns stay.
interface Person { name: string; born: number }
const people: Person[] = [{ name: "Ada", born: 1815 }, { name: "Grace", born: 1906 }];
for (const { name, born } of people) console.log(`${name} (${born})`);
