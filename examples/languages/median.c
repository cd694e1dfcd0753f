/* Prints the median of the numbers on its standard input. `fireclay run median.c --stdin numbers.txt` */
#include <stdio.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b) {
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

int main(void) {
    long numbers[1000];
    size_t count = 0;
    while (count < 1000 && scanf("%ld", &numbers[count]) == 1)
        count++;
    qsort(numbers, count, sizeof numbers[0], by_value);
    printf("%ld\n", count ? numbers[count / 2] : 0);
}
