"""The pilot study (Section 2.2, Figure 3): does granularity decide how much imbalance costs?"""
