"""What others reached at n = 64, micro-F1 in %, algorithm by algorithm.

The figures are from memory; their means over families and over all thirty are the printed ones of
the papers (read), so a pair of errors within one family would not show. None of them is a gate.
"""

COLUMNS = ("Memnet", "MPNN", "PGN", "Triplet-GMPNN", "G-ForgetNet")
SOURCE = (
    "Ibarz et al. 2022, single-task Triplet-GMPNN, from memory, checked against the printed means"
    " of families"
)

_TABLE = """
activity_selector 24.10 80.66 66.80 95.18 99.03
articulation_points 1.50 50.91 49.53 88.32 97.97
bellman_ford 40.04 92.01 92.99 97.39 99.18
bfs 43.34 99.89 99.63 99.73 99.96
binary_search 14.37 36.83 76.95 77.58 85.96
bridges 30.26 72.69 51.42 93.99 99.43
bubble_sort 73.58 5.27 6.01 67.68 83.19
dag_shortest_paths 66.15 96.24 96.94 98.19 99.37
dfs 13.36 6.54 8.71 47.79 74.31
dijkstra 22.48 91.50 83.45 96.05 99.14
find_maximum_subarray_kadane 13.05 20.30 65.23 76.36 78.97
floyd_warshall 14.17 26.74 28.76 48.52 56.32
graham_scan 40.62 91.04 56.87 93.62 97.67
heapsort 68.00 10.94 5.27 31.04 57.47
insertion_sort 71.42 19.81 44.37 78.14 98.40
jarvis_march 22.99 34.86 49.19 91.01 88.53
kmp_matcher 1.81 2.49 2.00 19.51 12.45
lcs_length 49.84 53.23 56.82 80.51 85.43
matrix_chain_order 81.96 79.84 83.91 91.68 91.08
minimum 86.93 85.34 87.71 97.78 99.26
mst_kruskal 28.84 70.97 66.96 89.80 91.25
mst_prim 10.29 69.08 63.33 86.39 95.19
naive_string_matcher 1.22 3.92 2.08 78.67 97.02
optimal_bst 72.03 62.23 71.01 73.77 83.58
quickselect 1.74 1.43 3.66 0.47 6.30
quicksort 73.10 11.30 6.17 64.64 73.28
segments_intersect 71.81 93.44 77.51 97.64 99.06
strongly_connected_components 16.32 24.37 20.80 43.43 53.53
task_scheduling 82.74 84.11 84.89 87.25 84.55
topological_sort 2.73 52.60 60.45 87.27 99.92
"""

SCORES: dict[str, dict[str, float]] = {
    name: dict(zip(COLUMNS, map(float, figures), strict=True))
    for name, *figures in (line.split() for line in _TABLE.strip().splitlines())
}
