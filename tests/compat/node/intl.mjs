// Dates, zones, numbers, collation, segmentation: the full ICU data.
const at = new Date(Date.UTC(2024, 2, 10, 12));
for (const zone of ['UTC', 'America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe']) console.log(at.toLocaleString('en-GB', { timeZone: zone, timeZoneName: 'short' }));
process.env.TZ = 'Europe/Berlin';
console.log(at.toString(), new Date('2024-07-01').getTimezoneOffset());
console.log(new Intl.NumberFormat('de', { style: 'currency', currency: 'EUR' }).format(1234567.891), (1234.5).toLocaleString('ar-EG'));
console.log(['z', 'ä', 'a'].sort(new Intl.Collator('sv').compare).join(), ['z', 'ä', 'a'].sort(new Intl.Collator('de').compare).join());
console.log(new Intl.DateTimeFormat('ja', { dateStyle: 'full', timeZone: 'UTC' }).format(at), new Intl.PluralRules('pl').select(5));
console.log([...new Intl.Segmenter('en', { granularity: 'word' }).segment('Hello, world')].length, [...new Intl.Segmenter().segment('👨‍👩‍👧é')].length);
console.log(new Intl.RelativeTimeFormat('fr').format(-1, 'day'), new Intl.ListFormat('en').format(['a', 'b', 'c']), Intl.supportedValuesOf('timeZone').length > 300);
console.log('İ'.toLocaleLowerCase('tr'), 'é'.normalize('NFD').length, /\p{Script=Greek}/u.test('α'), Intl.DateTimeFormat().resolvedOptions().locale);
