"""What rows say: intervals, rank correlations and figures. Knows no flags."""
