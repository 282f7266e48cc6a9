"""Results of many runs in one table, compared only where they are comparable.

=============  =====================================================================================
``entries``    results with where they came from; what may stand in one table
``standings``  means, intervals, differences, ranks of one protocol
``page``       the table for the terminal, and one HTML file
``rank_plot``  average ranks on a line
=============  =====================================================================================
"""
